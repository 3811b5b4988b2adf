"""What each route declares about itself: who may call it, how often, its body, its errors.

    @router.post("", status_code=202)
    @declare(Access.PERSON, max_body_bytes=photo_body, limits=(Limit.UPLOADS,), errors=(…,))
    async def upload(...): ...

The middleware looks the declaration up before a byte of the body is read, OpenAPI shows the errors,
and a route that declares nothing is refused.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, TypeVar

from fastapi.routing import iter_route_contexts
from starlette.routing import BaseRoute, Match
from starlette.types import Scope

from automatch.errors import AutomatchError
from automatch.errors.auth import (
    IssuerUnavailableError,
    TokenExpiredError,
    TokenInvalidError,
    TokenMissingError,
)
from automatch.errors.request import (
    ForbiddenError,
    RateLimitedError,
    RequestTimeoutError,
    TooManyConnectionsError,
    UrlTooLongError,
)
from automatch.errors.store import DatabaseUnavailableError
from automatch.errors.upload import (
    BodyTimeoutError,
    BodyTooLargeError,
    HeadersTooLargeError,
)
from automatch.http.errors import REQUEST_INVALID, error_model, status_of
from automatch.http.usual_request import UsualRoute
from automatch.services.accounts.rate_limits import Limit
from automatch.services.operators.acts import Act
from automatch.settings import Settings

_ATTRIBUTE = "__automatch_declaration__"
_SMALL_BODY_BYTES = 64 * 1024
_SCHEMAS = "#/components/schemas/"

_T = TypeVar("_T")


class Access(StrEnum):
    """Who may call a route; the middleware refuses everybody else."""

    ANYONE = "anyone"
    PERSON = "person"
    """A signed-in person, by access token."""
    PERSON_OR_LINK = "person_or_link"
    """A signed-in person, or whoever holds a signed link, which the handler checks."""
    SERVICE_KEY = "service_key"
    """The holder of the project's service_role key."""
    FUNCTION_KEY = "function_key"
    """The schedule, by its own key, or the holder of the service_role key; from any origin."""
    AI_KEY = "ai_key"
    """The holder of the AI service's key, or of the service_role key."""
    METRICS_KEY = "metrics_key"
    """The holder of the token for metrics, which lets to nothing else."""
    PUBLIC_KEY = "public_key"
    """A client that sends the public key of the project in the address; for websockets."""
    PAGE_COOKIE = "page_cookie"
    """A browser; its session cookie tells who it is, and may be missing."""
    CONSOLE = "console"
    """As PAGE_COOKIE; the route itself asks for a role, because others see an unknown address."""

    @property
    def is_page(self) -> bool:
        """Whether a browser shows the answer, errors included."""
        return self in {Access.PAGE_COOKIE, Access.CONSOLE}


_ACCESS_ERRORS: dict[Access, tuple[type[AutomatchError], ...]] = {
    access: (
        TokenMissingError,
        TokenInvalidError,
        TokenExpiredError,
        IssuerUnavailableError,
        ForbiddenError,
    )
    for access in Access
    if access is not Access.ANYONE and not access.is_page
}
_EVERY_ROUTE: tuple[type[AutomatchError], ...] = (
    AutomatchError,
    BodyTooLargeError,
    HeadersTooLargeError,
    RequestTimeoutError,
    TooManyConnectionsError,
    UrlTooLongError,
)


def small_body(_: Settings) -> int:
    """Return the limit of JSON and of forms without files."""
    return _SMALL_BODY_BYTES


def photo_body(settings: Settings) -> int:
    """Return the limit of a form with one photo."""
    return settings.upload.max_bytes


def photo_batch_body(settings: Settings) -> int:
    """Return the limit of a form with several photos."""
    return settings.ai.max_batch_bytes


@dataclass(frozen=True, slots=True)
class Declaration:
    """What a route says of itself."""

    access: Access
    max_body_bytes: Callable[[Settings], int] = small_body
    errors: tuple[type[AutomatchError], ...] = ()
    """Besides those of its access and limits, and those that every route can give."""
    limits: tuple[Limit, ...] = ()
    """What a request counts for, before its body is read."""
    act: Act | None = None
    """Of the console: what it is for; others than those who may do it are refused."""


def declare(
    access: Access,
    *,
    max_body_bytes: Callable[[Settings], int] = small_body,
    errors: Sequence[type[AutomatchError]] = (),
    limits: Sequence[Limit] = (),
    act: Act | None = None,
) -> Callable[[_T], _T]:
    """Attach a declaration to an endpoint, or to an application that is mounted."""

    def attach(endpoint: _T) -> _T:
        declaration = Declaration(access, max_body_bytes, tuple(errors), tuple(limits), act)
        setattr(endpoint, _ATTRIBUTE, declaration)
        return endpoint

    return attach


def declaration_of(route: BaseRoute) -> Declaration | None:
    """Return what a route declares, or None when it declares nothing."""
    target = getattr(route, "endpoint", None) or getattr(route, "app", None)
    declaration: Declaration | None = getattr(target, _ATTRIBUTE, None)
    return declaration


class DeclaredRoute(UsualRoute):
    """A JSON route whose errors, as it declares them, are shown in OpenAPI."""

    def __init__(self, path: str, endpoint: Callable[..., Any], **options: Any) -> None:
        declaration: Declaration | None = getattr(endpoint, _ATTRIBUTE, None)
        if declaration is not None:
            responses = _describe_errors(path, set(options.get("methods") or {"GET"}), declaration)
            options["responses"] = responses | (options.get("responses") or {})
            options["openapi_extra"] = {
                "x-access": declaration.access.value,
                **(options.get("openapi_extra") or {}),
            }
        super().__init__(path, endpoint, **options)


def _describe_errors(
    path: str, methods: set[str], declaration: Declaration
) -> dict[int | str, dict[str, Any]]:
    errors = [*_EVERY_ROUTE, *_ACCESS_ERRORS.get(declaration.access, ()), *declaration.errors]
    codes: dict[int, list[str]] = {}
    if declaration.limits:
        errors += [RateLimitedError, DatabaseUnavailableError]
    if not methods <= {"GET", "DELETE"}:
        errors.append(BodyTimeoutError)
        codes[400] = [REQUEST_INVALID]
    for error in errors:
        for kind in [AutomatchError] if error is AutomatchError else _concrete_errors(error):
            found = codes.setdefault(status_of(kind), [])
            if kind.code not in found:
                found.append(kind.code)
    model = error_model(path)
    told: dict[int | str, dict[str, Any]] = {
        status: {
            "description": ", ".join(f"`{code}`" for code in found),
            "content": {"application/json": {"schema": {"$ref": _SCHEMAS + model.__name__}}},
        }
        for status, found in sorted(codes.items())
    }
    # The model itself, which brings the schema, for one of them: to read one for each took FastAPI
    # a fifth of the time in which a server starts.
    told[min(codes)] = {"model": model, "description": told[min(codes)]["description"]}
    return told


def _concrete_errors(error: type[AutomatchError]) -> list[type[AutomatchError]]:
    """Return the error itself, or all errors below it when it is a base class."""
    below = [kind for base in error.__subclasses__() for kind in _concrete_errors(base)]
    return below or [error]


@dataclass(frozen=True, slots=True)
class FoundRoute:
    """The route that a request asks for."""

    path: str
    """Its template: the address itself may hold an id."""
    declaration: Declaration | None
    """None when the route declares nothing."""
    allowed_methods: Sequence[str] = ()
    """The methods of this address, when it does not take that of the request."""


class RouteTable:
    """Finds the route of a request, as the router will, to learn what it declares."""

    def __init__(self, routes: Sequence[BaseRoute]) -> None:
        self._routes = [context.original_route for context in iter_route_contexts(routes)]
        declared = [(route, declaration_of(route)) for route in self._routes]
        self._found: dict[tuple[str, str | None, str], FoundRoute] = {}
        self._program_segments = {
            _first_segment(getattr(route, "path", ""))
            for route, declaration in declared
            if declaration is not None and not declaration.access.is_page
        }

    def find(self, scope: Scope) -> FoundRoute:
        """Return the route of a request.

        An address that no route has is answered as its neighbours are: in JSON where the first
        segment is one of routes for programs, and with a page elsewhere.
        """
        key = (scope["type"], scope.get("method"), scope["path"])
        found = self._found.get(key)
        if found is None:
            found = self._match(scope)
            # Of routes without parameters alone, so that the cache has an end.
            if found.path == scope["path"] and not found.allowed_methods:
                self._found[key] = found
        return found

    def _match(self, scope: Scope) -> FoundRoute:
        with_other_methods: list[BaseRoute] = []
        for route in self._routes:
            match, _ = route.matches(scope)
            if match is Match.FULL:
                return FoundRoute(getattr(route, "path", ""), declaration_of(route))
            if match is Match.PARTIAL:
                with_other_methods.append(route)
        if with_other_methods:
            methods = {
                method
                for route in with_other_methods
                for method in getattr(route, "methods", None) or ()
            }
            first = with_other_methods[0]
            return FoundRoute(getattr(first, "path", ""), declaration_of(first), sorted(methods))
        is_for_programs = _first_segment(scope["path"]) in self._program_segments
        return FoundRoute(
            "unknown", Declaration(Access.ANYONE if is_for_programs else Access.PAGE_COOKIE)
        )


def _first_segment(path: str) -> str:
    return path.lstrip("/").partition("/")[0]
