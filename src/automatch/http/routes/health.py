"""`/healthz` and `/readyz`: whether the process lives, and whether it can serve."""

from __future__ import annotations

from fastapi import APIRouter

from automatch.http.deps import ServicesDep
from automatch.services.ai_requests import AiRequestsDep

router = APIRouter(tags=["health"])
ai_router = APIRouter(tags=["health"])
"""Of the AI service alone, which has no database."""


@ai_router.get("/healthz", summary="Alive")
@router.get("/healthz", summary="Alive")
async def healthz() -> dict[str, str]:
    """Answer as long as the process does."""
    return {"status": "ok"}


@router.get("/readyz", summary="Ready")
async def readyz(services: ServicesDep) -> dict[str, str]:
    """Answer 200 when the database answers, 503 `db_unavailable` when not."""
    async with services.db.transaction():
        return {"status": "ready"}


@ai_router.get("/readyz", summary="Ready")
async def ai_readyz(ai_requests: AiRequestsDep) -> dict[str, str]:
    """Answer 200 once the model is loaded."""
    await ai_requests.analyzer()
    return {"status": "ready"}
