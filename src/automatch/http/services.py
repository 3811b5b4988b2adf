"""What the handlers work with, built once by `automatch.app` and passed as a value."""

from __future__ import annotations

from dataclasses import dataclass

from starlette.requests import HTTPConnection

from automatch.auth.photo_links import PhotoLinks
from automatch.auth.tokens import Tokens
from automatch.feed.notifier import FeedNotifier
from automatch.photos.folder import PhotoStore
from automatch.services.accounts import Accounts
from automatch.services.admission import Admission
from automatch.services.match_generator import OnDemandWorker
from automatch.settings import Settings
from automatch.store.database import Database
from automatch.supabase_compat.realtime.channel import RealtimeDeps


@dataclass(frozen=True)
class Services:
    """The running parts of the server."""

    settings: Settings
    db: Database
    photos: PhotoStore
    notifier: FeedNotifier
    tokens: Tokens
    accounts: Accounts
    photo_links: PhotoLinks
    admission: Admission
    on_demand_worker: OnDemandWorker
    realtime: RealtimeDeps


def services_of(request: HTTPConnection) -> Services:
    """Return the services of the server that received *request*."""
    services: Services = request.app.state.services
    return services
