"""`/api/matches`: the feed as pages and as a stream, and what people say about a match."""

from __future__ import annotations

from collections.abc import AsyncIterator
from functools import partial
from typing import Annotated, Any, assert_never
from uuid import UUID

from fastapi import APIRouter, Header, Query, Request
from starlette.responses import StreamingResponse

from automatch.errors.request import (
    ForbiddenError,
    InputInvalidError,
    NotFoundError,
    TooManyStreamsError,
)
from automatch.errors.store import DatabaseUnavailableError
from automatch.feed import sse
from automatch.feed.stream import FeedEvent, New, Ready, Reauth, StateChange
from automatch.http.declaration import Access, DeclaredRoute, declare
from automatch.http.deps import (
    Caller,
    CallerDep,
    Services,
    ServicesDep,
    caller_of,
    services_of,
)
from automatch.http.event_stream import EventStreamResponse
from automatch.http.responses.accounts import HiddenPeopleResponse
from automatch.http.responses.matches import LikeResponse, MatchesResponse, MatchResponse
from automatch.http.responses.photos import JobResponse
from automatch.http.usual_request import usually
from automatch.model.jobs import Job
from automatch.model.matches import FeedEntry
from automatch.services.accounts.rate_limits import Limit
from automatch.services.matching.matches import MAX_POSITION, load_feed_page, open_feed
from automatch.store.matching import feed

router = APIRouter(tags=["matches"], route_class=DeclaredRoute)

_BY_ID = (DatabaseUnavailableError, InputInvalidError, NotFoundError)


def _read_stream(request: Request) -> dict[str, Any] | None:
    query = request.query_params
    after = sse.parse_position(query.get("after"))
    if after is None and query:
        return None
    return {
        "caller": caller_of(request),
        "services": services_of(request),
        "after": after,
        "last_event_id": request.headers.get("last-event-id"),
    }


@router.get("/api/matches", summary="A page of the feed")
@declare(
    Access.PERSON,
    limits=(Limit.FEED,),
    errors=(DatabaseUnavailableError, InputInvalidError),
)
async def read(
    caller: CallerDep,
    services: ServicesDep,
    cursor: Annotated[
        int | None, Query(ge=1, le=MAX_POSITION, description="`next_cursor` of a page")
    ] = None,
    limit: Annotated[int, Query(ge=1, le=100)] = 20,
) -> MatchesResponse:
    """Return matches, newest first.

    `last_event_id` is where `GET /api/matches/stream?after=` goes on without a gap.
    """
    page = await load_feed_page(
        services.reads, services.live.deliveries, caller.claims, before=cursor, limit=limit
    )
    return MatchesResponse.from_page(page, services.photo_links, caller.claims)


@router.get(
    "/api/matches/stream",
    response_class=StreamingResponse,
    responses={200: {"content": {"text/event-stream": {}}}},
    summary="The live feed",
)
@declare(
    Access.PERSON,
    limits=(Limit.FEED,),
    errors=(DatabaseUnavailableError, InputInvalidError, TooManyStreamsError),
)
@usually(_read_stream)
async def stream(
    caller: CallerDep,
    services: ServicesDep,
    after: Annotated[
        int | None, Query(ge=0, le=MAX_POSITION, description="Go on after this event")
    ] = None,
    last_event_id: Annotated[str | None, Header()] = None,
) -> EventStreamResponse:
    """Stream server-sent events: `match`, `gone`, `job`, `reauth`.

    `gone` names the match whose card goes, and the person, except when they are erased.
    A reconnect with `Last-Event-ID` gets all that happened in between.
    """
    return EventStreamResponse(
        await open_feed(
            services.live,
            caller.claims,
            partial(_encode_events, caller=caller, services=services),
            ping=sse.PING,
            after=after,
            last_event_id=last_event_id,
            shows_new=False,
        )
    )


@router.put("/api/profiles/{profile_id}/like", summary="Like a person")
@declare(Access.PERSON, limits=(Limit.LIKES,), errors=(*_BY_ID, ForbiddenError))
async def like(profile_id: UUID, caller: CallerDep, services: ServicesDep) -> LikeResponse:
    """Like a person of the feed, who learns of it only if they like the caller too.

    Then both get a `match` event, with what the other shares.
    """
    async with services.db.as_user(caller.claims) as conn:
        return LikeResponse(liked=True, mutual=await feed.like_profile(conn, profile_id))


@router.delete("/api/profiles/{profile_id}/like", status_code=204, summary="Take a like back")
@declare(Access.PERSON, errors=_BY_ID)
async def unlike(profile_id: UUID, caller: CallerDep, services: ServicesDep) -> None:
    """Take a like back; what the two shared with each other disappears again."""
    async with services.db.as_user(caller.claims) as conn:
        await feed.unlike_profile(conn, profile_id)


@router.post("/api/matches/{match_id}/dismiss", status_code=204, summary="Not a match")
@declare(Access.PERSON, errors=_BY_ID)
async def dismiss(match_id: UUID, caller: CallerDep, services: ServicesDep) -> None:
    """Take a match out of both feeds; later searches leave it out."""
    async with services.db.as_user(caller.claims) as conn:
        await feed.dismiss_match(conn, match_id)


@router.post("/api/profiles/{profile_id}/block", status_code=204, summary="Block a person")
@declare(Access.PERSON, errors=_BY_ID)
async def block(profile_id: UUID, caller: CallerDep, services: ServicesDep) -> None:
    """Make two people invisible to each other."""
    async with services.db.as_user(caller.claims) as conn:
        await feed.block_profile(conn, profile_id)


@router.delete("/api/profiles/{profile_id}/block", status_code=204, summary="Unblock a person")
@declare(Access.PERSON, errors=_BY_ID)
async def unblock(profile_id: UUID, caller: CallerDep, services: ServicesDep) -> None:
    """Let the two see each other again, unless the other hides too."""
    async with services.db.as_user(caller.claims) as conn:
        await feed.unblock_profile(conn, profile_id)


@router.delete("/api/profiles/{profile_id}/dismissal", status_code=204, summary="Undo a dismissal")
@declare(Access.PERSON, errors=_BY_ID)
async def undo_dismissal(profile_id: UUID, caller: CallerDep, services: ServicesDep) -> None:
    """Undo "not a match" for all matches with a person."""
    async with services.db.as_user(caller.claims) as conn:
        await feed.undo_dismissal(conn, profile_id)


@router.get("/api/profiles/hidden", summary="People whom one hides")
@declare(Access.PERSON, errors=(DatabaseUnavailableError,))
async def read_hidden(caller: CallerDep, services: ServicesDep) -> HiddenPeopleResponse:
    """Return whom the caller blocked or dismissed, newest first; nobody sees who hid them."""
    async with services.db.as_user(caller.claims) as conn:
        return HiddenPeopleResponse.from_people(await feed.list_hidden(conn))


async def _encode_events(
    events: AsyncIterator[FeedEvent], caller: Caller, services: Services
) -> AsyncIterator[str]:
    async for event in events:
        match event:
            case Ready(position):
                yield sse.encode_event("ready", {}, event_id=position)
            case FeedEntry(match_id=None):
                gone = {
                    "id": str(event.last_match_id),
                    "profile": {"id": str(event.profile_id)},
                }
                yield sse.encode_event("gone", gone, event_id=event.position)
            case FeedEntry():
                response = MatchResponse.from_entry(event, services.photo_links, caller.claims)
                yield sse.encode_event(
                    "match", response.model_dump(mode="json"), event_id=event.position
                )
            case Job():
                yield sse.encode_event("job", JobResponse.from_job(event).model_dump(mode="json"))
            case New() | StateChange():
                # Only pages show these.
                pass
            case Reauth():
                yield sse.encode_event("reauth", {})
            case _ as never:
                assert_never(never)
