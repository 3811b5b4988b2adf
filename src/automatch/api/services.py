"""What the handlers work with, built once by `automatch.app` and passed as a value."""

from __future__ import annotations

from dataclasses import dataclass

from starlette.requests import HTTPConnection

from automatch.api.accounts import Accounts
from automatch.api.admission import Admission
from automatch.api.drain import SpareWorker
from automatch.api.photo_links import PhotoLinks
from automatch.api.tokens import Tokens
from automatch.feed.hub import FeedHub
from automatch.realtime.channel import Parts as RealtimeParts
from automatch.settings import Settings
from automatch.store.database import Database
from automatch.store.photos import PhotoStore


@dataclass(frozen=True)
class Services:
    """The running parts of the server."""

    settings: Settings
    db: Database
    photos: PhotoStore
    hub: FeedHub
    tokens: Tokens
    accounts: Accounts
    links: PhotoLinks
    admission: Admission
    spare_worker: SpareWorker
    realtime: RealtimeParts


def services_of(request: HTTPConnection) -> Services:
    """Return the services of the server that received *request*."""
    services: Services = request.app.state.services
    return services
