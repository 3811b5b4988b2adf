"""The live feed: its page and stream, uploads, photos, and the actions on a match."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Header, Query, Request
from starlette.responses import JSONResponse, Response, StreamingResponse

from automatch.errors.photo import PhotoRejectedError
from automatch.errors.request import InputInvalidError, RequestError
from automatch.errors.store import QueueFullError, StorageFullError, StoreError
from automatch.errors.upload import UploadError
from automatch.feed import sse
from automatch.feed.stream import FeedEvent, Ping, Ready, Reauth
from automatch.http.deps import Caller, CallerDep, ServicesDep
from automatch.http.routes.faces import send_photo, told_upload
from automatch.http.routes.jobs import choose_face
from automatch.http.routes.matches import LAST_POSITION, STREAM_HEADERS, open_feed
from automatch.http.services import Services
from automatch.model.jobs import Job
from automatch.model.matches import FeedEntry, MatchPool
from automatch.photos.folder import Size
from automatch.search.explain import needs_explanation
from automatch.services.uploads import take_photo
from automatch.store import faces, jobs, profiles
from automatch.store.feed import block_profile, dismiss_match, load_feed_page, load_feed_position
from automatch.web.feed_views import Card, FeedPage, JobItem, render_card, render_job
from automatch.web.pages import PageRoute, go_to, read_form, show, templates, wants_json
from automatch.web.templating import Problem

router = APIRouter(route_class=PageRoute, include_in_schema=False)

_CARDS = 24
_JOBS = 10


@router.get("/feed")
async def feed(
    caller: CallerDep,
    services: ServicesDep,
    before: Annotated[int | None, Query(ge=1, le=LAST_POSITION)] = None,
) -> Response:
    """Show the upload form, the caller's photos and their look-alikes."""
    page = await _feed_page(caller, services, before=before)
    # A new person completes the profile first; before that the feed is empty.
    if not page.profile.is_complete:
        return go_to("/onboarding")
    return show(page)


@router.get("/feed/stream")
async def stream(
    caller: CallerDep,
    services: ServicesDep,
    after: Annotated[int | None, Query(ge=0)] = None,
    last_event_id: Annotated[str | None, Header()] = None,
) -> StreamingResponse:
    """Stream the cards and photos that change, as HTML of the page."""
    events = await open_feed(services, caller, after=after, last_event_id=last_event_id)
    return StreamingResponse(
        _encode_events(events, caller, services),
        media_type="text/event-stream",
        headers=STREAM_HEADERS,
    )


@router.post("/upload")
async def upload(request: Request, caller: CallerDep, services: ServicesDep) -> Response:
    """Accept a photo; a script gets the answer of the API, a browser the feed."""
    try:
        taken = await take_photo(request, services, caller.claims)
    except (
        UploadError,
        PhotoRejectedError,
        RequestError,
        QueueFullError,
        StorageFullError,
    ) as exc:
        if wants_json(request):
            raise
        problem = Problem(exc.code, exc.message, "file")
        return show(await _feed_page(caller, services, problem=problem), exc)
    if wants_json(request):
        return JSONResponse(told_upload(taken), 202)
    return go_to("/feed")


@router.get("/photos/{face_id}")
async def photo(
    face_id: UUID, caller: CallerDep, services: ServicesDep, size: Size = "thumb"
) -> Response:
    """Send a photo of the caller or of a match."""
    return await send_photo(services, caller.claims, face_id, size)


@router.post("/faces/{face_id}/delete")
async def delete_photo(face_id: UUID, caller: CallerDep, services: ServicesDep) -> Response:
    """Delete a photo with its matches."""
    async with services.db.as_user(caller.claims) as conn:
        await faces.delete_face(conn, face_id)
    return go_to("/feed")


@router.post("/jobs/{job_id}/face")
async def choose(
    job_id: UUID, request: Request, caller: CallerDep, services: ServicesDep
) -> Response:
    """Store the choice of a face; the photo is then processed again."""
    form = await read_form(request)
    try:
        index = int(str(form.get("index")))
        # Clamped to what the database can store; the result is not a valid face either.
        status = await choose_face(services, caller, job_id, max(-1, min(index, 64)))
    except ValueError as exc:
        raise InputInvalidError("Choose one of the faces.") from exc
    if wants_json(request):
        return JSONResponse({"job": {"id": str(job_id), "status": status.value}}, 202)
    return go_to("/feed")


@router.post("/matches/{match_id}/dismiss")
async def dismiss(match_id: UUID, caller: CallerDep, services: ServicesDep) -> Response:
    """Dismiss a match."""
    async with services.db.as_user(caller.claims) as conn:
        await dismiss_match(conn, match_id)
    return go_to("/feed")


@router.post("/people/{profile_id}/block")
async def block(profile_id: UUID, caller: CallerDep, services: ServicesDep) -> Response:
    """Block a person: neither sees the other."""
    async with services.db.as_user(caller.claims) as conn:
        await block_profile(conn, profile_id)
    return go_to("/feed")


async def _feed_page(
    caller: Caller,
    services: Services,
    *,
    before: int | None = None,
    problem: Problem | None = None,
) -> FeedPage:
    async with services.db.as_user(caller.claims) as conn:
        profile = await profiles.load_profile(conn)
        consent = await profiles.load_consent(conn)
        position = await load_feed_position(conn)
        entries = await load_feed_page(conn, before=before, limit=_CARDS + 1)
        own_faces = await faces.list_faces(conn)
        own_jobs = await jobs.list_jobs(conn, _JOBS)
        is_explained = any(needs_explanation(job) for job in own_jobs)
        pool = await jobs.load_pool(conn) if is_explained else None
    newest: dict[UUID, Job] = {}
    for job in own_jobs:
        newest.setdefault(job.face_id, job)
    cards = [card for entry in entries[:_CARDS] if (card := Card.from_entry(entry))]
    return FeedPage(
        profile=profile,
        faces=own_faces,
        jobs=[JobItem.from_job(job, pool) for job in newest.values()],
        cards=cards,
        last_position=position,
        older_cursor=cards[-1].position if len(entries) > _CARDS else None,
        uploads_allowed=consent.granted and profile.is_complete,
        uploads_refused_reason=(
            None if consent.granted else "To add a photo, first agree to face matching."
        ),
        max_upload_mb=services.settings.upload.max_bytes // 1024**2,
        is_newest=before is None,
        problem=problem,
    )


async def _encode_events(
    events: AsyncIterator[FeedEvent], caller: Caller, services: Services
) -> AsyncIterator[str]:
    yield sse.OPENING
    pool: MatchPool | None = None
    async for event in events:
        match event:
            case Ready(position):
                yield sse.encode_event("ready", {}, event_id=position)
            case FeedEntry():
                yield _encode_entry(event)
            case Job():
                if pool is None and needs_explanation(event):
                    pool = await _load_pool(caller, services)
                item = JobItem.from_job(event, pool)
                data = {
                    "html": render_job(templates(), item),
                    "job_id": str(event.id),
                    "status": event.status.value,
                }
                yield sse.encode_event("job", data)
            case Ping():
                # The pool is cached only for events that come together, as when a stream opens.
                pool = None
                yield sse.PING
            case Reauth():
                yield sse.encode_event("reauth", {})


async def _load_pool(caller: Caller, services: Services) -> MatchPool | None:
    try:
        async with services.db.as_user(caller.claims) as conn:
            return await jobs.load_pool(conn)
    except StoreError:
        # Better an event without the reason than no event.
        return None


def _encode_entry(entry: FeedEntry) -> str:
    data: dict[str, object] = {"profile_id": str(entry.profile_id), "position": entry.position}
    card = Card.from_entry(entry, is_new=True)
    if card is None:
        return sse.encode_event("gone", data, event_id=entry.position)
    data["html"] = render_card(templates(), card)
    return sse.encode_event("match", data, event_id=entry.position)
