"""`/api/faces`: upload a photo, list, see and erase one's own."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from fastapi import APIRouter, Request, Response

from automatch.errors.request import NotFoundError
from automatch.http.deps import CallerDep, ServicesDep, caller_of
from automatch.http.multipart import form_of
from automatch.http.services import Services
from automatch.model.faces import Face
from automatch.model.jobs import Upload
from automatch.model.people import Claims, Role
from automatch.photos.folder import Size
from automatch.services.uploads import MESSAGE, take_photo
from automatch.store import faces

router = APIRouter(prefix="/api/faces", tags=["faces"])

_FORM = form_of({"type": "string", "format": "binary"})


@router.post("", status_code=202, summary="Upload a photo", openapi_extra=_FORM)
async def upload(request: Request, caller: CallerDep, services: ServicesDep) -> dict[str, Any]:
    """Take one photo and queue it; the matches arrive in the feed."""
    return told_upload(await take_photo(request, services, caller.claims))


def told_upload(upload: Upload) -> dict[str, Any]:
    """Return the guide's answer to an upload."""
    return {
        "face": {"id": str(upload.face_id)},
        "job": {"id": str(upload.job_id), "status": upload.job_status.value},
        "message": MESSAGE,
    }


@router.get("", summary="Own photos")
async def read(caller: CallerDep, services: ServicesDep) -> dict[str, Any]:
    """Return the caller's photos, newest first."""
    async with services.db.as_user(caller.claims) as conn:
        found = await faces.list_faces(conn)
    return {"faces": [_told(face, services.photo_links.sign(face.id, caller.id)) for face in found]}


@router.delete("/{face_id}", status_code=204, summary="Erase a photo")
async def erase(face_id: UUID, caller: CallerDep, services: ServicesDep) -> Response:
    """Delete a photo with its template, jobs and matches, on both sides."""
    async with services.db.as_user(caller.claims) as conn:
        await faces.delete_face(conn, face_id)
    return Response(status_code=204)


@router.get(
    "/{face_id}/image",
    response_class=Response,
    responses={200: {"content": {"image/jpeg": {}}}},
    summary="See a photo",
)
async def image(
    face_id: UUID,
    request: Request,
    services: ServicesDep,
    token: str | None = None,
    size: Size = "full",
) -> Response:
    """Return a photo of one's own or of a match; by access token or by a signed link."""
    if token is not None:
        viewer = services.photo_links.viewer_of(token, face_id)
        claims = Claims(role=Role.AUTHENTICATED, subject=viewer)
    else:
        claims = caller_of(request).claims
    return await send_photo(services, claims, face_id, size)


async def send_photo(services: Services, claims: Claims, face_id: UUID, size: Size) -> Response:
    """Answer with a clean copy of a photo, if this person may see it now.

    Raises:
        NotFoundError: they may not, or no worker has seen the photo yet.
    """
    async with services.db.as_user(claims) as conn:
        path = await faces.find_viewable_photo(conn, face_id)
    jpeg = await services.photos.read_copy(path, size) if path else None
    if jpeg is None:
        raise NotFoundError
    return Response(jpeg, media_type="image/jpeg")


def _told(face: Face, image_url: str) -> dict[str, Any]:
    return {
        "id": str(face.id),
        "created_at": face.created_at.isoformat(),
        "embedded": face.embedding_model is not None,
        "quality": face.quality,
        "image_url": image_url if face.embedding_model else None,
    }
