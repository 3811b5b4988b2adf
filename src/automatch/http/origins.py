"""Where a request of a browser comes from: our own pages, or an app that the operator let in."""

from __future__ import annotations

from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.types import Scope

from automatch.errors.request import ForbiddenError
from automatch.settings import Settings

_DEFAULT_PORTS = {"http": 80, "https": 443}
_HTTP_SCHEMES = {"ws": "http", "wss": "https"}


def comes_from_us(scope: Scope, settings: Settings) -> bool:
    """Tell whether a request is from our own pages, or from no page at all.

    Scheme, host and port must be those of the public address, or without one those that were asked.
    """
    headers = Headers(scope=scope)
    origin = headers.get("origin")
    if origin is None:
        return True
    scheme = _HTTP_SCHEMES.get(scope["scheme"], scope["scheme"])
    own = settings.public_url or f"{scheme}://{headers.get('host', '')}"
    return _parts(origin) == _parts(own) is not None


def check_websocket_origin(scope: Scope, settings: Settings) -> None:
    """Check who opens a websocket, which browsers let every page do, where people use HTTPS.

    Raises:
        ForbiddenError: it is neither our own page nor an app that may call the API.
    """
    allowed = settings.web_origins.split()
    if not settings.is_public_https or "*" in allowed or comes_from_us(scope, settings):
        return
    if Headers(scope=scope).get("origin") not in allowed:
        raise ForbiddenError("Pages of this origin may not connect; see AUTOMATCH_WEB_ORIGINS.")


def _parts(address: str) -> tuple[str, str, int | None] | None:
    try:
        parts = urlsplit(address)
        port = parts.port or _DEFAULT_PORTS.get(parts.scheme)
    except ValueError:
        return None
    return (parts.scheme, parts.hostname, port) if parts.hostname else None
