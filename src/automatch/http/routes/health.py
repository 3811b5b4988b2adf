"""What programs ask about the server itself: whether it works, and what its routes are."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request

from automatch.auth.server_identity import CHALLENGE
from automatch.errors.embedder import EmbedderError
from automatch.errors.request import InputInvalidError
from automatch.errors.store import (
    DatabaseNewerError,
    DatabaseOlderError,
    DatabaseUnavailableError,
    NotReadyError,
    PhotoStorageError,
    StorageFullError,
)
from automatch.http.declaration import Access, DeclaredRoute, declare
from automatch.http.deps import AiRequestsDep, ServicesDep
from automatch.http.responses.admin import IdentityResponse, StatusResponse
from automatch.store.installation.schema_version import check_schema

router = APIRouter(tags=["health"], route_class=DeclaredRoute)
ai_router = APIRouter(tags=["health"], route_class=DeclaredRoute)
"""Of the AI service alone, which has no database."""


@ai_router.get("/healthz", summary="Alive")
@router.get("/healthz", summary="Alive")
@declare(Access.ANYONE)
async def healthz() -> StatusResponse:
    """Answer as long as the process does."""
    return StatusResponse(status="ok")


@router.get("/readyz", summary="Ready")
@declare(
    Access.ANYONE,
    errors=(DatabaseUnavailableError, NotReadyError, PhotoStorageError, StorageFullError),
)
async def readyz(services: ServicesDep) -> StatusResponse:
    """Answer 200 when database and photos can be used and all parts run, 503 when not.

    The schema of the database has to be that of this version; a newer one will do.
    """
    if services.live.notifier.closing.is_set():
        raise NotReadyError("The server is stopping.")
    if failing := services.background.failing:
        raise NotReadyError(f"A part of the server is being started again: {', '.join(failing)}.")
    await services.photo_check.check()
    await services.admission.check_space()
    async with services.db.connection() as conn:
        try:
            await check_schema(conn)
        except (DatabaseOlderError, DatabaseNewerError) as exc:
            raise NotReadyError(exc.message) from exc
    return StatusResponse(status="ready")


@router.get("/api/identity", summary="Whose server this is")
@declare(Access.ANYONE, errors=(InputInvalidError,))
async def read_identity(
    services: ServicesDep,
    challenge: Annotated[str, Query(pattern=CHALLENGE, description="32 random hex digits.")],
) -> IdentityResponse:
    """Prove that the server has the secrets of an installation, without telling any of them.

    Commands ask before they send a key, so that a key never reaches another installation.
    """
    return IdentityResponse(proof=services.tokens.prove_identity(challenge))


@ai_router.get("/readyz", summary="Ready")
@declare(Access.ANYONE, errors=(EmbedderError,))
async def ai_readyz(ai_requests: AiRequestsDep) -> StatusResponse:
    """Answer 200 once the model is loaded."""
    await ai_requests.analyzer()
    return StatusResponse(status="ready")


@ai_router.get("/api/openapi.json", include_in_schema=False)
@router.get("/api/openapi.json", include_in_schema=False)
@declare(Access.ANYONE)
async def read_openapi(request: Request) -> dict[str, Any]:
    """Return the description of all routes for programs."""
    description: dict[str, Any] = request.app.openapi()
    return description
