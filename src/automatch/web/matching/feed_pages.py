"""The live feed: its page, its stream, and why it is empty."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from functools import partial
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Header, Query, Request
from starlette.responses import JSONResponse, Response

from automatch.errors.auth import TokenInvalidError
from automatch.errors.store import StoreError
from automatch.feed import sse
from automatch.feed.stream import FeedEvent, New, Ready, Reauth, StateChange
from automatch.http.declaration import Access, declare
from automatch.http.deps import (
    Caller,
    CallerDep,
    Services,
    ServicesDep,
    caller_of,
    on_loop,
    services_of,
)
from automatch.http.event_stream import EventStreamResponse
from automatch.http.usual_request import usually
from automatch.model.jobs import Job
from automatch.model.matches import FeedEntry, FeedOrder, FeedPlace, MatchPool
from automatch.search.explain import needs_explanation
from automatch.services.accounts.rate_limits import Limit
from automatch.services.matching.matches import (
    MAX_POSITION,
    load_feed_overview,
    load_participation,
    load_pool,
    open_feed,
)
from automatch.services.photos.photos import shown_until
from automatch.web.matching.empty_views import render_empty
from automatch.web.matching.feed_views import Card, FeedPage, render_card
from automatch.web.pages import OrderDep, PageRoute, go_to, show, templates, usual_order
from automatch.web.photos.own_photos import (
    JobItem,
    newest_jobs,
    render_job,
    render_strip_photo,
    why_no_upload,
)
from automatch.web.photos.waiting_views import Waiting, find_waiting
from automatch.web.protection.report_views import list_notices

router = APIRouter(route_class=PageRoute, include_in_schema=False)

_KNOWN_S = 0.5
"""How long events that come together share what the person waits for."""
_CARDS = 24
_JOBS = 10


@router.get("/feed")
@declare(Access.PAGE_COOKIE, limits=(Limit.FEED,))
async def feed(
    caller: CallerDep,
    services: ServicesDep,
    order: OrderDep,
    before: Annotated[int | None, Query(ge=1, le=MAX_POSITION)] = None,
    similarity: Annotated[float | None, Query(ge=0, le=1)] = None,
) -> Response:
    """Show the caller's photos in a row and their look-alikes."""
    after = FeedPlace(before, similarity) if before is not None else None
    page = await _feed_page(caller, services, order=order, after=after)
    # A new person completes the profile first; before that the feed is empty.
    if not page.profile.is_complete:
        return go_to("/onboarding")
    if page.consent_outdated:
        return go_to("/profile/consent")
    return show(page)


def _read_stream(request: Request) -> dict[str, Any] | None:
    query = request.query_params
    order = usual_order(query)
    after = sse.parse_position(query.get("after"))
    if order is None or (after is None and "after" in query):
        return None
    return {
        "caller": caller_of(request),
        "services": services_of(request),
        "order": order,
        "after": after,
        "last_event_id": request.headers.get("last-event-id"),
    }


@router.get("/feed/stream")
@declare(Access.PAGE_COOKIE, limits=(Limit.FEED,))
@usually(_read_stream)
async def stream(
    caller: CallerDep,
    services: ServicesDep,
    order: OrderDep,
    after: Annotated[int | None, Query(ge=0, le=MAX_POSITION)] = None,
    last_event_id: Annotated[str | None, Header()] = None,
) -> EventStreamResponse:
    """Stream the cards and photos that change, as HTML of the page."""
    return EventStreamResponse(
        await open_feed(
            services.live,
            caller.claims,
            partial(_encode_events, caller=caller, services=services, order=order),
            # An event, because scripts do not see comments: a silent connection is dead.
            ping=sse.encode_event("ping", {}),
            after=after,
            last_event_id=last_event_id,
        )
    )


@router.get("/live", dependencies=[Depends(on_loop(caller_of))])
@declare(Access.PAGE_COOKIE)
async def live() -> Response:
    """Tell a page that somebody is still signed in."""
    return Response(status_code=204)


@router.get("/feed/state")
@declare(Access.PAGE_COOKIE, limits=(Limit.FEED,))
async def state(caller: CallerDep, services: ServicesDep) -> Response:
    """Tell an open page without a card why it has none."""
    page = await _feed_page(caller, services, order=FeedOrder(), after=None, max_cards=0)
    waiting = page.waiting.kind if page.waiting else ""
    return JSONResponse({"waiting": waiting, "html": render_empty(templates(), page.empty)})


async def _feed_page(
    caller: Caller,
    services: Services,
    *,
    order: FeedOrder,
    after: FeedPlace | None,
    max_cards: int = _CARDS,
) -> FeedPage:
    overview = await load_feed_overview(
        services.reads,
        services.live.deliveries,
        caller.claims,
        order=order,
        after=after,
        max_matches=max_cards,
        max_jobs=_JOBS,
    )
    consent = overview.consent
    notices = list_notices(overview.cases)
    waiting = find_waiting(overview.membership, notices)
    return FeedPage(
        profile=overview.profile,
        faces=overview.faces,
        jobs=[JobItem.from_job(job, overview.pool, waiting) for job in newest_jobs(overview.jobs)],
        cards=[card for entry in overview.entries if (card := Card.from_entry(entry, order))],
        last_position=overview.position,
        order=order,
        next_place=overview.next_place,
        new_count=overview.new_count,
        consent_outdated=consent.outdated,
        uploads_allowed=consent.is_current and overview.profile.is_complete,
        uploads_refused_reason=why_no_upload(consent),
        max_upload_mb=services.settings.upload.max_bytes // 1024**2,
        kept_side=services.settings.vision.kept_side,
        person_id=caller.id,
        is_newest=after is None,
        notices=notices,
        waiting=waiting,
        pool=overview.pool,
        is_paused=overview.is_paused,
    )


async def _encode_events(
    events: AsyncIterator[FeedEvent], caller: Caller, services: Services, order: FeedOrder
) -> AsyncIterator[str]:
    pool: MatchPool | None = None
    known: tuple[Waiting | None] | None = None
    known_until = 0.0
    async for event in events:
        match event:
            case Ready(position):
                ready = {"ping_s": services.settings.feed.ping_s}
                yield sse.encode_event("ready", ready, event_id=position)
            case FeedEntry():
                yield _encode_entry(event, order)
            case New(match_ids):
                yield sse.encode_event("new", {"match_ids": sorted(map(str, match_ids))})
            case Job():
                if pool is None and needs_explanation(event):
                    pool = await _load_pool(caller, services)
                if known is None or time.monotonic() > known_until:
                    known = await _load_waiting(caller, services)
                    known_until = time.monotonic() + _KNOWN_S
                waiting = known[0] if known else None
                item = JobItem.from_job(
                    event, pool, waiting, shown_until=shown_until(services.settings)
                )
                data = {
                    "html": render_strip_photo(templates(), item),
                    "photo": render_job(templates(), item),
                    "job_id": str(event.id),
                    "status": event.status.value,
                }
                if known:
                    data["waiting"] = waiting.kind if waiting else ""
                yield sse.encode_event("job", data)
            case StateChange():
                yield sse.encode_event("state", {})
            case Reauth():
                yield sse.encode_event("reauth", {})


async def _load_pool(caller: Caller, services: Services) -> MatchPool | None:
    try:
        return await load_pool(services.live, caller.claims)
    except (StoreError, TokenInvalidError):
        # Better an event without the reason than no event; the stream itself sees what is wrong.
        return None


async def _load_waiting(caller: Caller, services: Services) -> tuple[Waiting | None] | None:
    """Return what the person waits for, if anything; nothing where that cannot be read."""
    try:
        own_cases, membership = await load_participation(services.live, caller.claims)
    except (StoreError, TokenInvalidError):
        return None
    return (find_waiting(membership, list_notices(own_cases)),)


def _encode_entry(entry: FeedEntry, order: FeedOrder) -> str:
    data: dict[str, object] = {
        "match_id": str(entry.last_match_id),
        "profile_id": str(entry.profile_id),
        "position": entry.position,
    }
    card = Card.from_entry(entry, order)
    if card is None:
        return sse.encode_event("gone", data, event_id=entry.position)
    data["html"] = render_card(templates(), card)
    return sse.encode_event("match", data, event_id=entry.position)
