"""A person's own photos: sent, deleted, and asked about; and photos as files."""

from __future__ import annotations

from hashlib import blake2b
from uuid import UUID

from fastapi import APIRouter, Request
from starlette.responses import JSONResponse, Response

from automatch.errors.request import InputInvalidError
from automatch.http.declaration import Access, declare
from automatch.http.deps import CallerDep, ServicesDep
from automatch.http.responses.photos import FaceChosenResponse, QueuedJobResponse
from automatch.photos.store import Size
from automatch.services.jobs import choose_face
from automatch.services.photos import load_visible_photo
from automatch.services.rate_limits import Limit
from automatch.store import faces
from automatch.web.pages import PageRoute, go_to, read_form, wants_json

router = APIRouter(route_class=PageRoute, include_in_schema=False)

_KEPT = {"cache-control": "private, max-age=60, must-revalidate", "vary": "Cookie"}
"""A browser keeps a photo for the session that it saw it in. After a minute it asks whether the
photo may still be seen, so that one that was withdrawn or erased is not shown any more."""


@router.get("/photos/{face_id}")
@declare(Access.PAGE_COOKIE, limits=(Limit.PHOTOS,))
async def photo(
    request: Request,
    face_id: UUID,
    caller: CallerDep,
    services: ServicesDep,
    size: Size = "thumb",
) -> Response:
    """Send a photo of the caller or of a match."""
    jpeg = await load_visible_photo(
        services.db, services.photos, caller.claims, face_id, size, views=services.photo_views
    )
    headers = _KEPT | {"etag": f'"{blake2b(jpeg, digest_size=12).hexdigest()}"'}
    if request.headers.get("if-none-match") == headers["etag"]:
        return Response(status_code=304, headers=headers)
    return Response(jpeg, media_type="image/jpeg", headers=headers)


@router.post("/faces/{face_id}/delete")
@declare(Access.PAGE_COOKIE)
async def delete_photo(face_id: UUID, caller: CallerDep, services: ServicesDep) -> Response:
    """Delete a photo with its matches."""
    async with services.db.as_user(caller.claims) as conn:
        await faces.delete_face(conn, face_id)
    return go_to("/feed")


@router.post("/jobs/{job_id}/face")
@declare(Access.PAGE_COOKIE)
async def choose(
    job_id: UUID, request: Request, caller: CallerDep, services: ServicesDep
) -> Response:
    """Store the choice of a face; the photo is then processed again."""
    form = await read_form(request)
    try:
        index = int(str(form.get("index")))
        # Clamped to what the database can store; the result is not a valid face either.
        status = await choose_face(
            services.db, services.admission, caller.claims, job_id, max(-1, min(index, 64))
        )
    except ValueError as exc:
        raise InputInvalidError("Choose one of the faces.", case="face") from exc
    if wants_json(request):
        response = FaceChosenResponse(job=QueuedJobResponse(id=job_id, status=status))
        return JSONResponse(response.model_dump(mode="json"), 202)
    return go_to("/feed")
