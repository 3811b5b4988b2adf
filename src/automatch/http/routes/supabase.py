"""What supabase clients and the deployment guide call besides sign-in: functions and realtime.

Whoever connects to realtime sends the public key of the project in the address, and the access
token of a person in a message to join a channel. Cookies are ignored: a page of another origin gets
nothing that its script does not hold already.
"""

from __future__ import annotations

from typing import cast

import structlog
from fastapi import APIRouter, WebSocket

from automatch.errors import AutomatchError
from automatch.errors.request import InputInvalidError, TooManyStreamsError
from automatch.errors.store import (
    DatabaseUnavailableError,
    JobsUnfinishedError,
    QueuePausedError,
)
from automatch.http.declaration import Access, DeclaredRoute, declare
from automatch.http.deps import OperatorDep, ServicesDep, services_of
from automatch.http.errors import error_response
from automatch.http.responses.admin import MatchGeneratorResponse
from automatch.services.matching.match_generator import drain_queue
from automatch.supabase_compat.realtime.message import Version
from automatch.supabase_compat.realtime.websocket import RealtimeConnection, WebSocketProtocol

router = APIRouter(tags=["functions"], route_class=DeclaredRoute)

_INTERNAL_ERROR = 1011
"""Code with which a websocket is closed after a crash (RFC 6455, section 7.4.1)."""
_VERSIONS = ("1.0.0", "2.0.0")

log = structlog.get_logger(__name__)


@router.post("/functions/v1/match-generator", summary="Have waiting jobs done")
@declare(
    Access.FUNCTION_KEY,
    errors=(DatabaseUnavailableError, InputInvalidError, QueuePausedError, JobsUnfinishedError),
)
async def generate_matches(_: OperatorDep, services: ServicesDep) -> MatchGeneratorResponse:
    """Wait until the jobs that wait now have ended; the body is not read."""
    drained = await drain_queue(services.db, services.on_demand_worker)
    return MatchGeneratorResponse.from_drained_queue(drained)


@router.websocket("/realtime/v1/websocket")
@declare(Access.PUBLIC_KEY, errors=(InputInvalidError, TooManyStreamsError))
async def connect(websocket: WebSocket) -> None:
    """Serve one connection."""
    deps = services_of(websocket).realtime
    try:
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
        # This is the edge of the server for websockets, as the middleware is for requests.
        _log_crash(exc)
        await websocket.close(_INTERNAL_ERROR)


def _log_crash(exc: Exception) -> None:
    # The first exception of a group is the one that ended the others.
    cause = exc.exceptions[0] if isinstance(exc, ExceptionGroup) else exc
    log.error("websocket crashed", error=type(cause).__name__)
