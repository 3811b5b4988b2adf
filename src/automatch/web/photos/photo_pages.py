"""A person's own photos: sent, deleted, and asked about; and photos as files."""

from __future__ import annotations

from hashlib import blake2b
from uuid import UUID

from fastapi import APIRouter, Request
from starlette.responses import JSONResponse, Response

from automatch.errors.photo import PhotoRejectedError
from automatch.errors.request import InputInvalidError, RequestError
from automatch.errors.store import QueueFullError, StorageFullError
from automatch.errors.upload import UploadError
from automatch.http.declaration import Access, declare, photo_body
from automatch.http.deps import Caller, CallerDep, Services, ServicesDep
from automatch.http.multipart import read_photo
from automatch.http.responses.photos import (
    FaceChosenResponse,
    QueuedJobResponse,
    UploadResponse,
)
from automatch.http.security_headers import POLICY_OF_FILES
from automatch.photos.store import Size, type_of_copy
from automatch.services.accounts.rate_limits import Limit
from automatch.services.photos.photos import (
    load_own_photos,
    load_refused_photo,
    load_visible_photo,
    shown_until,
)
from automatch.services.queue.jobs import choose_face
from automatch.store.photos import faces
from automatch.web.language import gettext as _
from automatch.web.pages import PageRoute, go_to, read_form, sender_of, show, wants_json
from automatch.web.photos.own_photos import (
    JobItem,
    PhotosPage,
    describe_upload,
    newest_jobs,
    why_no_upload,
)
from automatch.web.photos.waiting_views import find_waiting
from automatch.web.protection.report_views import list_notices
from automatch.web.templating import Problem

router = APIRouter(route_class=PageRoute, include_in_schema=False)

_KEPT = {
    "cache-control": "private, max-age=60, must-revalidate",
    "vary": "Cookie",
    "content-security-policy": POLICY_OF_FILES,
}
"""A browser keeps a photo for the session that it saw it in. After a minute it asks whether the
photo may still be seen, so that one that was withdrawn or erased is not shown any more."""
_JOBS = 100


@router.get("/photos")
@declare(Access.PAGE_COOKIE, limits=(Limit.FEED,))
async def own_photos(
    caller: CallerDep, services: ServicesDep, done: str = "", photo: UUID | None = None
) -> Response:
    """Show the caller's photos; *photo* is the one to say more about."""
    notices = {
        "chosen": _("Thanks. We're looking for your look-alikes now."),
        "deleted": _("Photo deleted."),
    }
    return show(await _photos_page(caller, services, notice=notices.get(done), opened=photo))


@router.get("/upload")
@declare(Access.PAGE_COOKIE)
async def upload_address() -> Response:
    """Show the page of photos to whoever reloads the address of its form."""
    return go_to("/photos")


@router.post("/upload")
@declare(Access.PAGE_COOKIE, max_body_bytes=photo_body, limits=(Limit.UPLOADS, Limit.SEARCHES))
async def upload(
    request: Request, caller: CallerDep, services: ServicesDep, person: UUID | None = None
) -> Response:
    """Accept a photo; a script gets the API's answer in the page's words, a browser the feed."""
    try:
        sender_of(caller, person)
        await services.uploads.check_allowed(caller.claims)
        accepted = await services.uploads.accept(caller.claims, await read_photo(request))
    except (
        UploadError,
        PhotoRejectedError,
        RequestError,
        QueueFullError,
        StorageFullError,
    ) as exc:
        if wants_json(request):
            raise
        request.state.refused_as = exc.code
        problem = Problem.of(exc, "file")
        return show(await _photos_page(caller, services, problem=problem), exc)
    response = UploadResponse.from_upload(accepted)
    response.message = describe_upload(accepted)
    if wants_json(request):
        return JSONResponse(response.model_dump(mode="json"), 202)
    if accepted.is_new:
        return go_to("/feed")
    if accepted.error_code:
        problem = Problem(accepted.error_code, response.message, "file")
        return show(await _photos_page(caller, services, problem=problem))
    return show(await _photos_page(caller, services, notice=response.message))


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
    copy = await load_visible_photo(
        services.reads, services.photos, caller.claims, face_id, size, views=services.photo_views
    )
    headers = _KEPT | {"etag": f'"{blake2b(copy, digest_size=12).hexdigest()}"'}
    if request.headers.get("if-none-match") == headers["etag"]:
        return Response(status_code=304, headers=headers)
    return Response(copy, media_type=type_of_copy(copy), headers=headers)


@router.get("/photos/{face_id}/refused")
@declare(Access.PAGE_COOKIE, limits=(Limit.PHOTOS,))
async def refused_photo(face_id: UUID, caller: CallerDep, services: ServicesDep) -> Response:
    """Send the picture of a photo of the caller that was refused."""
    jpeg = await load_refused_photo(services.db, services.photos, caller.claims, face_id)
    return Response(jpeg, media_type="image/jpeg")


@router.post("/faces/{face_id}/delete")
@declare(Access.PAGE_COOKIE)
async def delete_photo(face_id: UUID, caller: CallerDep, services: ServicesDep) -> Response:
    """Delete a photo with its matches."""
    async with services.db.as_user(caller.claims) as conn:
        await faces.delete_face(conn, face_id)
    return go_to("/photos?done=deleted")


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
    return go_to("/photos?done=chosen")


async def _photos_page(
    caller: Caller,
    services: Services,
    *,
    problem: Problem | None = None,
    notice: str | None = None,
    opened: UUID | None = None,
) -> PhotosPage:
    own = await load_own_photos(services.db, caller.claims, max_jobs=_JOBS)
    waiting = find_waiting(own.membership, list_notices(own.cases))
    return PhotosPage(
        faces=own.faces,
        jobs=[
            JobItem.from_job(
                job,
                own.pool,
                waiting,
                shown_until=shown_until(services.settings),
                is_open=job.face_id == opened,
            )
            for job in newest_jobs(own.jobs)
        ],
        uploads_allowed=own.consent.is_current and own.profile.is_complete,
        uploads_refused_reason=why_no_upload(own.consent),
        max_upload_mb=services.settings.upload.max_bytes // 1024**2,
        kept_side=services.settings.vision.kept_side,
        person_id=caller.id,
        problem=problem,
        notice=notice,
    )
