"""`/api/matches`: the feed as pages and as a stream, and what people say about a match."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Header, Query, Response
from starlette.responses import StreamingResponse

from automatch.feed import sse
from automatch.feed.stream import FeedEvent, Ping, Ready, Reauth, follow, open_stream
from automatch.http.deps import Caller, CallerDep, ServicesDep
from automatch.http.routes.jobs import told_job
from automatch.http.services import Services
from automatch.model.jobs import Job
from automatch.model.matches import FeedEntry
from automatch.store.feed import (
    block_profile,
    dismiss_match,
    list_hidden,
    load_feed_page,
    load_feed_position,
    unblock_profile,
    undo_dismissal,
)

router = APIRouter(tags=["matches"])

STREAM_HEADERS = {"x-accel-buffering": "no"}
LAST_POSITION = 2**63 - 1


@router.get("/api/matches", summary="A page of the feed")
async def read(
    caller: CallerDep,
    services: ServicesDep,
    cursor: Annotated[
        int | None, Query(ge=1, le=LAST_POSITION, description="`next_cursor` of a page")
    ] = None,
    limit: Annotated[int, Query(ge=1, le=100)] = 20,
) -> dict[str, Any]:
    """Return matches, newest first.

    `last_event_id` is where `GET /api/matches/stream?after=` goes on without a gap.
    """
    async with services.db.as_user(caller.claims) as conn:
        position = await load_feed_position(conn)
        page = await load_feed_page(conn, before=cursor, limit=limit)
        last = page[-1].position if len(page) == limit else None
        # A page of the longest kind has no room for one more entry that would tell.
        more = await load_feed_page(conn, before=last, limit=1) if last is not None else []
    return {
        "matches": [_told_entry(entry, caller, services) for entry in page],
        "next_cursor": last if more else None,
        "last_event_id": position,
    }


@router.get("/api/matches/stream", response_class=StreamingResponse, summary="The live feed")
async def stream(
    caller: CallerDep,
    services: ServicesDep,
    after: Annotated[int | None, Query(ge=0, description="Go on after this event")] = None,
    last_event_id: Annotated[str | None, Header()] = None,
) -> StreamingResponse:
    """Stream server-sent events: `match`, `gone`, `job`, `reauth`.

    A reconnect with `Last-Event-ID` gets all that happened in between.
    """
    events = await open_feed(services, caller, after=after, last_event_id=last_event_id)
    return StreamingResponse(
        _encoded(events, caller, services), media_type="text/event-stream", headers=STREAM_HEADERS
    )


@router.post("/api/matches/{match_id}/dismiss", status_code=204, summary="Not a match")
async def dismiss(match_id: UUID, caller: CallerDep, services: ServicesDep) -> Response:
    """Take a match out of both feeds; later runs obey."""
    async with services.db.as_user(caller.claims) as conn:
        await dismiss_match(conn, match_id)
    return Response(status_code=204)


@router.post("/api/profiles/{profile_id}/block", status_code=204, summary="Block a person")
async def block(profile_id: UUID, caller: CallerDep, services: ServicesDep) -> Response:
    """Make two people invisible to each other."""
    async with services.db.as_user(caller.claims) as conn:
        await block_profile(conn, profile_id)
    return Response(status_code=204)


@router.delete("/api/profiles/{profile_id}/block", status_code=204, summary="Unblock a person")
async def unblock(profile_id: UUID, caller: CallerDep, services: ServicesDep) -> Response:
    """Let the two see each other again, unless the other hides too."""
    async with services.db.as_user(caller.claims) as conn:
        await unblock_profile(conn, profile_id)
    return Response(status_code=204)


@router.delete("/api/profiles/{profile_id}/dismissal", status_code=204, summary="Take a no back")
async def take_back(profile_id: UUID, caller: CallerDep, services: ServicesDep) -> Response:
    """Undo "not a match" for all matches with a person."""
    async with services.db.as_user(caller.claims) as conn:
        await undo_dismissal(conn, profile_id)
    return Response(status_code=204)


@router.get("/api/profiles/hidden", summary="People one hides")
async def hidden(caller: CallerDep, services: ServicesDep) -> dict[str, Any]:
    """Return whom the caller blocked or dismissed, newest first; nobody sees who hid from them."""
    async with services.db.as_user(caller.claims) as conn:
        people = await list_hidden(conn)
    return {
        "people": [
            {
                "profile": {"id": str(person.profile_id), "name": person.name},
                "blocked": person.is_blocked,
                "dismissed": person.is_dismissed,
                "since": person.since.isoformat(),
            }
            for person in people
        ]
    }


async def open_feed(
    services: Services, caller: Caller, *, after: int | None, last_event_id: str | None
) -> AsyncIterator[FeedEvent]:
    """Return the caller's live feed, opened; what a client saw last counts over *after*.

    Raises:
        TooManyStreamsError: this person has too many streams open already.
    """
    resumed = sse.parse_last_event_id(last_event_id)
    return await open_stream(
        follow(
            services.db,
            services.notifier,
            caller.claims,
            services.settings.feed,
            after=resumed if resumed is not None else after,
        )
    )


async def _encoded(
    events: AsyncIterator[FeedEvent], caller: Caller, services: Services
) -> AsyncIterator[str]:
    yield sse.OPENING
    async for event in events:
        match event:
            case Ready(position):
                yield sse.encode_event("ready", {}, event_id=position)
            case FeedEntry(match_id=None):
                gone = {"profile": {"id": str(event.profile_id)}}
                yield sse.encode_event("gone", gone, event_id=event.position)
            case FeedEntry():
                told = _told_entry(event, caller, services)
                yield sse.encode_event("match", told, event_id=event.position)
            case Job():
                yield sse.encode_event("job", told_job(event))
            case Ping():
                yield sse.PING
            case Reauth():
                yield sse.encode_event("reauth", {})


def _told_entry(entry: FeedEntry, caller: Caller, services: Services) -> dict[str, Any]:
    assert entry.face_id is not None
    return {
        "id": str(entry.match_id),
        "profile": {"id": str(entry.profile_id), "name": entry.name, "school": entry.school},
        "face": {
            "id": str(entry.face_id),
            "image_url": services.photo_links.sign(entry.face_id, caller.id),
        },
        "own_face_id": str(entry.own_face_id),
        "similarity": entry.similarity,
        "simulated": entry.simulated,
        "created_at": entry.created_at.isoformat(),
    }
