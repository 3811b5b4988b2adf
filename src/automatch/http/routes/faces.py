"""`/api/faces`: upload a photo; list, see and erase one's own."""

from __future__ import annotations

from uuid import UUID

from fastapi import APIRouter, Request, Response

from automatch.errors.job import ProfileNotFoundError
from automatch.errors.photo import PhotoRejectedError
from automatch.errors.request import (
    ConsentOutdatedError,
    ConsentRequiredError,
    InputInvalidError,
    NotFoundError,
    PhotosFullError,
    PhotosWaitingError,
    ProfileIncompleteError,
)
from automatch.errors.store import (
    DatabaseUnavailableError,
    PhotoStorageError,
    QueueFullError,
    StorageFullError,
)
from automatch.errors.upload import UploadError
from automatch.http.declaration import Access, DeclaredRoute, declare, photo_body
from automatch.http.deps import CallerDep, ServicesDep, caller_of
from automatch.http.multipart import describe_form, read_photo
from automatch.http.responses.photos import FacesResponse, UploadResponse
from automatch.photos.store import Size, type_of_copy
from automatch.services.accounts.rate_limits import Limit
from automatch.services.photos.photos import load_visible_photo
from automatch.store.photos import faces

router = APIRouter(prefix="/api/faces", tags=["faces"], route_class=DeclaredRoute)

_UPLOAD_ERRORS = (
    DatabaseUnavailableError,
    QueueFullError,
    StorageFullError,
    PhotoStorageError,
    ConsentOutdatedError,
    ConsentRequiredError,
    ProfileIncompleteError,
    ProfileNotFoundError,
    PhotosFullError,
    PhotosWaitingError,
    UploadError,
    PhotoRejectedError,
)


@router.post(
    "",
    status_code=202,
    summary="Upload a photo",
    openapi_extra=describe_form({"type": "string", "format": "binary"}),
)
@declare(
    Access.PERSON,
    max_body_bytes=photo_body,
    limits=(Limit.UPLOADS, Limit.SEARCHES),
    errors=_UPLOAD_ERRORS,
)
async def upload(request: Request, caller: CallerDep, services: ServicesDep) -> UploadResponse:
    """Accept one photo and queue it; the matches arrive in the feed."""
    await services.uploads.check_allowed(caller.claims)
    photo = await read_photo(request)
    return UploadResponse.from_upload(await services.uploads.accept(caller.claims, photo))


@router.get("", summary="Own photos")
@declare(Access.PERSON, errors=(DatabaseUnavailableError,))
async def read(caller: CallerDep, services: ServicesDep) -> FacesResponse:
    """Return the caller's photos, newest first."""
    async with services.reads.as_user(caller.claims) as conn:
        own_faces = await faces.list_faces(conn)
    return FacesResponse.from_faces(own_faces, services.photo_links, caller.claims)


@router.delete("/{face_id}", status_code=204, summary="Erase a photo")
@declare(Access.PERSON, errors=(DatabaseUnavailableError, InputInvalidError, NotFoundError))
async def erase(face_id: UUID, caller: CallerDep, services: ServicesDep) -> None:
    """Delete a photo with its template, jobs and matches, on both sides."""
    async with services.db.as_user(caller.claims) as conn:
        await faces.delete_face(conn, face_id)


@router.get(
    "/{face_id}/image",
    response_class=Response,
    responses={200: {"content": {"image/jpeg": {}, "image/webp": {}}}},
    summary="See a photo",
)
@declare(
    Access.PERSON_OR_LINK,
    limits=(Limit.PHOTOS,),
    errors=(DatabaseUnavailableError, PhotoStorageError, InputInvalidError, NotFoundError),
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
        claims = services.photo_links.viewer_of(token, face_id)
        await services.rate_limits.charge([(Limit.PHOTOS, str(claims.subject))])
    else:
        claims = caller_of(request).claims
    copy = await load_visible_photo(
        services.reads, services.photos, claims, face_id, size, views=services.photo_views
    )
    return Response(copy, media_type=type_of_copy(copy))
