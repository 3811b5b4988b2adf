"""`POST /functions/v1/match-generator`: what the deployment guide's cron job calls."""

from __future__ import annotations

from fastapi import APIRouter

from automatch.http.deps import OperatorDep, ServicesDep
from automatch.services.match_generator import Generated, drain_queue

MATCH_GENERATOR = "/functions/v1/match-generator"

router = APIRouter(tags=["functions"])


@router.post(MATCH_GENERATOR, summary="Have waiting jobs done")
async def generate_matches(_: OperatorDep, services: ServicesDep) -> Generated:
    """Wait until the jobs that wait now have ended; the body is not read.

    Raises:
        QueuePausedError: jobs wait, and may not be worked on.
        JobsUnfinishedError: jobs wait, and none of them ended in time.
    """
    return await drain_queue(services.db, services.on_demand_worker)
