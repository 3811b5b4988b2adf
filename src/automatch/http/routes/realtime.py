"""`/realtime/v1/websocket`: live rows for supabase clients.

Who connects shows the public key of the project in the address, as those clients do, and who joins
a channel shows the access token of a person in the message. Cookies are not looked at: a page of
another origin gets nothing that its script does not hold already.
"""

from __future__ import annotations

from typing import cast

import structlog
from fastapi import APIRouter, WebSocket

from automatch.errors import AutomatchError
from automatch.errors.auth import TokenMissingError
from automatch.errors.request import InputInvalidError
from automatch.http.errors import error_response
from automatch.http.services import services_of
from automatch.supabase_compat.realtime.message import Version
from automatch.supabase_compat.realtime.websocket import RealtimeConnection, WebSocketProtocol

router = APIRouter()

_BROKEN = 1011
_VERSIONS = ("1.0.0", "2.0.0")

log = structlog.get_logger(__name__)


@router.websocket("/realtime/v1/websocket")
async def connect(websocket: WebSocket) -> None:
    """Serve one connection."""
    deps = services_of(websocket).realtime
    try:
        key = websocket.query_params.get("apikey")
        if not key:
            raise TokenMissingError("Send the anon key of the project as `apikey`.")
        deps.verify(key)
        version = websocket.query_params.get("vsn", _VERSIONS[0])
        if version not in _VERSIONS:
            raise InputInvalidError(f"`vsn` is {' or '.join(_VERSIONS)}.")
        with deps.limits.connection():
            await websocket.accept()
            await _serve(
                RealtimeConnection(
                    cast("WebSocketProtocol", websocket), cast("Version", version), deps
                ),
                websocket,
            )
    except AutomatchError as exc:
        await websocket.send_denial_response(error_response(exc))


async def _serve(connection: RealtimeConnection, websocket: WebSocket) -> None:
    try:
        await connection.run()
    except Exception as exc:
        # The edge of the server, like the gate for requests.
        _log_crash(exc)
        await websocket.close(_BROKEN)


def _log_crash(exc: Exception) -> None:
    # The first of a group is what made the others end.
    cause = exc.exceptions[0] if isinstance(exc, ExceptionGroup) else exc
    log.error("websocket crashed", error=type(cause).__name__)
