"""The page on which a person shows before the camera that a first photo is theirs."""

from __future__ import annotations

from uuid import UUID

from fastapi import APIRouter, Request
from starlette.responses import JSONResponse, Response

from automatch.http.declaration import Access, declare, photo_body
from automatch.http.deps import AiRequestsDep, CallerDep, ServicesDep
from automatch.http.multipart import read_photos
from automatch.services.accounts.rate_limits import Limit
from automatch.services.photos.photo_challenges import (
    PICTURES,
    answer_challenge,
    begin_challenge,
    check_own_photo,
)
from automatch.web.pages import PageResponse, PageRoute
from automatch.web.photos.challenge_views import ChallengePage

router = APIRouter(route_class=PageRoute, include_in_schema=False)

_CAMERA = {"permissions-policy": "camera=(self), geolocation=(), microphone=()"}


@router.get("/photos/{face_id}/challenge")
@declare(Access.PAGE_COOKIE)
async def challenge_page(face_id: UUID, caller: CallerDep, services: ServicesDep) -> Response:
    """Show what is asked for; the only page that may use the camera."""
    await check_own_photo(services.db, caller.claims, face_id)
    return PageResponse(ChallengePage(face_id=face_id, person_id=caller.id), headers=_CAMERA)


@router.post("/photos/{face_id}/challenge/begin")
@declare(Access.PAGE_COOKIE, limits=(Limit.UPLOADS,))
async def begin(face_id: UUID, caller: CallerDep, services: ServicesDep) -> Response:
    """Say to which sides to turn; for the script of the page."""
    challenge = await begin_challenge(services.db, caller.claims, caller.id, face_id)
    return JSONResponse(
        {"id": str(challenge.id), "turns": [turn.value for turn in challenge.turns]}
    )


@router.post("/photos/{face_id}/challenge/{challenge_id}")
@declare(Access.PAGE_COOKIE, max_body_bytes=photo_body)
async def answer(
    *,
    face_id: UUID,
    challenge_id: UUID,
    request: Request,
    caller: CallerDep,
    services: ServicesDep,
    ai_requests: AiRequestsDep,
) -> Response:
    """Look at the pictures, which are not kept."""
    pictures = await read_photos(request, max_files=PICTURES)
    await answer_challenge(
        services.db,
        ai_requests,
        caller.claims,
        person_id=caller.id,
        face_id=face_id,
        challenge_id=challenge_id,
        pictures=pictures,
    )
    return JSONResponse({"passed": True})
