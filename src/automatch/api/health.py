"""`/healthz` and `/readyz`: whether the process lives, and whether it can serve."""

from __future__ import annotations

from fastapi import APIRouter

from automatch.api.caller import Parts

router = APIRouter(tags=["health"])


@router.get("/healthz", summary="Alive")
async def healthz() -> dict[str, str]:
    """Answer as long as the process does."""
    return {"status": "ok"}


@router.get("/readyz", summary="Ready")
async def readyz(services: Parts) -> dict[str, str]:
    """Answer 200 when the database answers, 503 `db_unavailable` when not."""
    async with services.db.as_login():
        return {"status": "ready"}
