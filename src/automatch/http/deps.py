"""What handlers are given: the services of the server, and who is asking.

`Services` is the container that `automatch.app` fills once; the rest are FastAPI dependencies.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import wraps
from typing import Annotated, ParamSpec, TypeVar
from uuid import UUID

from fastapi import Depends, Header
from starlette.requests import HTTPConnection

from automatch.auth.addresses import AddressKey
from automatch.auth.confirmations import Confirmations
from automatch.auth.photo_links import PhotoLinks
from automatch.auth.tokens import Tokens
from automatch.background import BackgroundTasks
from automatch.errors.auth import TokenMissingError
from automatch.errors.request import ForbiddenError, InputInvalidError
from automatch.feed.live import LiveFeed
from automatch.http.client_address import client_address
from automatch.language.catalogue import COOKIE, read_accept_language
from automatch.model.operators import Operator
from automatch.model.people import Claims, Role
from automatch.photos.store import PhotoStore
from automatch.services.accounts.accounts import Accounts
from automatch.services.accounts.mailed_links import MailedLinks
from automatch.services.accounts.notifications import Notifications
from automatch.services.accounts.rate_limits import RateLimits
from automatch.services.matching.match_generator import OnDemandWorker
from automatch.services.matching.thresholds import ThresholdFigures
from automatch.services.operation.figures import Figures
from automatch.services.operation.installation_checks import Finding
from automatch.services.operators.site_operator import SiteOperatorCache
from automatch.services.people.memberships import Memberships
from automatch.services.photos.admission import Admission
from automatch.services.photos.ai_requests import AiRequestLimiter
from automatch.services.photos.photo_views import PhotoViews
from automatch.services.photos.photos import PhotoCheck, Uploads
from automatch.services.protection.erasures import Erasures
from automatch.services.protection.reports import Reports
from automatch.settings import Settings
from automatch.store.database import Database
from automatch.store.replica import Reads
from automatch.supabase_compat.realtime.channel import RealtimeDeps

_MAX_ACTOR = 100
_P = ParamSpec("_P")
_T = TypeVar("_T")


@dataclass(frozen=True)
class Services:
    """All that handlers work with, made once for the server."""

    settings: Settings
    db: Database
    reads: Reads
    """For what may come from a replica."""
    photos: PhotoStore
    live: LiveFeed
    tokens: Tokens
    accounts: Accounts
    mailed_links: MailedLinks
    memberships: Memberships
    notifications: Notifications
    reports: Reports
    photo_links: PhotoLinks
    addresses: AddressKey
    erasures: Erasures
    confirmations: Confirmations
    photo_check: PhotoCheck
    photo_views: PhotoViews
    admission: Admission
    uploads: Uploads
    rate_limits: RateLimits
    site_operator: SiteOperatorCache
    on_demand_worker: OnDemandWorker
    background: BackgroundTasks
    realtime: RealtimeDeps
    checks: Figures[list[Finding]]
    threshold_figures: Figures[ThresholdFigures]
    schedule_dsn: str
    """With the login of the schedule, for a cron job that an operator runs."""


@dataclass(frozen=True, slots=True)
class Caller:
    """The signed-in person who asks."""

    claims: Claims
    id: UUID


def on_loop(read: Callable[_P, _T]) -> Callable[_P, Awaitable[_T]]:
    """Return a dependency that waits for no thread, to which FastAPI sends plain functions."""

    @wraps(read)
    async def reading(*args: _P.args, **kwargs: _P.kwargs) -> _T:
        return read(*args, **kwargs)

    return reading


def services_of(request: HTTPConnection) -> Services:
    """Return the services of the server that received *request*."""
    services: Services = request.app.state.services
    return services


def ai_requests_of(request: HTTPConnection) -> AiRequestLimiter:
    """Return what limits the AI requests of the server that received *request*."""
    ai_requests: AiRequestLimiter = request.app.state.ai_requests
    return ai_requests


def claims_of(request: HTTPConnection) -> Claims:
    """Return the verified claims of a request.

    Raises:
        TokenMissingError: it has none.
    """
    claims: Claims | None = getattr(request.state, "claims", None)
    if claims is None:
        raise TokenMissingError
    return claims


def caller_of(request: HTTPConnection) -> Caller:
    """Return the signed-in person who asks.

    Raises:
        TokenMissingError: nobody is signed in.
        ForbiddenError: the token is a key of the project, which belongs to no person.
    """
    return person_of(claims_of(request))


def person_of(claims: Claims) -> Caller:
    """Return the person whose token has these claims.

    Raises:
        ForbiddenError: the token is a key of the project, which belongs to no person.
    """
    if claims.role is not Role.AUTHENTICATED or claims.subject is None:
        raise ForbiddenError("This needs the access token of a person, not a key of the project.")
    return Caller(claims, claims.subject)


def check_service(claims: Claims) -> None:
    """Allow only the holder of the project's service key.

    Raises:
        ForbiddenError: the token is another key, or belongs to a person.
    """
    if claims.role is not Role.SERVICE:
        raise ForbiddenError("This needs the service_role key of the project.")


def operator_of(
    request: HTTPConnection,
    x_actor: Annotated[
        str | None,
        Header(description="Who acts, for the audit log: at most 100 printable characters."),
    ] = None,
) -> Operator:
    """Return the holder of the service key, who may do everything, under the name they give.

    Raises:
        TokenMissingError: no key was sent.
        ForbiddenError: it is not the service key.
        InputInvalidError: `X-Actor` cannot be written into the audit log.
    """
    check_service(claims_of(request))
    try:
        # ASGI decodes the bytes of a header as Latin-1, and clients send UTF-8.
        person = (x_actor or "").encode("latin-1").decode().strip()
    except UnicodeError as exc:
        raise InputInvalidError("X-Actor is not UTF-8.") from exc
    if len(person) > _MAX_ACTOR or not person.isprintable():
        raise InputInvalidError(f"X-Actor takes at most {_MAX_ACTOR} printable characters.")
    return Operator.of_machine(f"{Role.SERVICE.value}:{person}" if person else Role.SERVICE.value)


def address_of(request: HTTPConnection) -> str:
    """Return the network address for which limits count a request."""
    return client_address(request.scope)


def languages_of(request: HTTPConnection) -> list[str]:
    """Return the languages that a reader prefers, the first one first, as tags in lower case."""
    accepted = read_accept_language(request.headers.get("accept-language", ""))
    chosen = request.cookies.get(COOKIE, "").lower()
    return [chosen, *accepted] if chosen else accepted


ServicesDep = Annotated[Services, Depends(on_loop(services_of))]
AiRequestsDep = Annotated[AiRequestLimiter, Depends(on_loop(ai_requests_of))]
AddressDep = Annotated[str, Depends(on_loop(address_of))]
CallerDep = Annotated[Caller, Depends(on_loop(caller_of))]
LanguagesDep = Annotated[list[str], Depends(on_loop(languages_of))]
OperatorDep = Annotated[Operator, Depends(on_loop(operator_of))]
