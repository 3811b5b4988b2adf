"""`POST /functions/v1/match-generator`: what the deployment guide's cron job calls."""

from __future__ import annotations

from fastapi import APIRouter

from automatch.errors.request import InputInvalidError
from automatch.errors.store import (
    DatabaseUnavailableError,
    JobsUnfinishedError,
    QueuePausedError,
)
from automatch.http.declaration import Access, DeclaredRoute, declare
from automatch.http.deps import OperatorDep, ServicesDep
from automatch.http.responses.admin import MatchGeneratorResponse
from automatch.services.match_generator import drain_queue

router = APIRouter(tags=["functions"], route_class=DeclaredRoute)


@router.post("/functions/v1/match-generator", summary="Have waiting jobs done")
@declare(
    Access.FUNCTION_KEY,
    errors=(DatabaseUnavailableError, InputInvalidError, QueuePausedError, JobsUnfinishedError),
)
async def generate_matches(_: OperatorDep, services: ServicesDep) -> MatchGeneratorResponse:
    """Wait until the jobs that wait now have ended; the body is not read."""
    drained = await drain_queue(services.db, services.on_demand_worker)
    return MatchGeneratorResponse.from_drained_queue(drained)
