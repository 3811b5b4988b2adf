"""The feed of a person: its pages and its matches, what the feed page shows, the live stream."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import UUID

from automatch.feed.deliveries import Deliveries
from automatch.feed.live import LiveFeed
from automatch.feed.sse import parse_position
from automatch.feed.stream import Encode, FeedStream
from automatch.model.cases import OwnCase
from automatch.model.faces import Face
from automatch.model.jobs import Job
from automatch.model.matches import FeedEntry, FeedOrder, FeedPlace, MatchDetails, MatchPool
from automatch.model.people import Claims, Consent, Profile
from automatch.model.schools import Membership
from automatch.search.explain import needs_explanation
from automatch.store.database import Connection, Database
from automatch.store.matching import feed
from automatch.store.matching.news import NewsQuery
from automatch.store.people import profiles, schools
from automatch.store.photos import faces
from automatch.store.protection import cases
from automatch.store.queue import jobs
from automatch.store.replica import Reads

MAX_POSITION = 2**63 - 1
"""Positions of a feed are 64-bit integers."""
_NEW = timedelta(days=1)
"""Matches that are older are not noted as seen: by then nobody asks when."""


@dataclass(frozen=True, slots=True)
class FeedPage:
    """Matches of a person, newest first."""

    entries: Sequence[FeedEntry]
    next_cursor: int | None
    """`before` of the next page; None on the last one."""
    position: int
    """The newest position of the feed: a stream goes on after it without a gap."""


@dataclass(frozen=True, slots=True)
class FeedOverview:
    """All that the feed page of a person shows."""

    profile: Profile
    consent: Consent
    entries: Sequence[FeedEntry]
    next_place: FeedPlace | None
    """Where the next page goes on; None on the last one."""
    position: int
    """The newest position of the feed: a stream goes on after it without a gap."""
    new_count: int
    """How many matches the person has not seen yet, a hundred at most."""
    faces: Sequence[Face]
    jobs: Sequence[Job]
    """Newest first."""
    pool: MatchPool | None
    """Among how many people the person is searched for, when a job found few of them."""
    cases: Sequence[OwnCase]
    """What was reported, by the person or about them."""
    membership: Membership | None
    """How far the person is with their school."""
    is_paused: bool
    """Whether no search of their school is made now."""


@dataclass(frozen=True, slots=True)
class MatchView:
    """One match, and those beside it in the order in which it was found."""

    match: MatchDetails
    previous_id: UUID | None
    next_id: UUID | None
    new_count: int
    """As `FeedOverview.new_count`, this match no longer among them."""


async def load_feed_page(
    db: Reads, deliveries: Deliveries, claims: Claims, *, before: int | None, limit: int
) -> FeedPage:
    """Return the matches of a person at places below *before*, newest first."""
    async with db.as_user(claims) as conn:
        page = await _load_page(conn, before=before, limit=limit)
    _note_seen(deliveries, claims, page.entries)
    return page


async def load_feed_overview(
    db: Reads,
    deliveries: Deliveries,
    claims: Claims,
    *,
    order: FeedOrder,
    after: FeedPlace | None,
    max_matches: int,
    max_jobs: int,
) -> FeedOverview:
    """Return what the feed page shows; with no match at most what an empty one does.

    Raises:
        ProfileNotFoundError: the account was deleted while its token lives on.
    """
    async with db.as_user(claims) as conn:
        own_jobs = await jobs.list_jobs(conn, max_jobs)
        explain = any(needs_explanation(job) for job in own_jobs)
        # The position is read first: what arrives in between comes again with the stream.
        position = await feed.load_feed_position(conn)
        entries: list[FeedEntry] = []
        if max_matches:
            entries = await feed.list_matches(conn, order, after=after, limit=max_matches + 1)
        has_more = len(entries) > max_matches
        entries = entries[:max_matches]
        overview = FeedOverview(
            profile=await profiles.load_profile(conn),
            consent=await profiles.load_consent(conn),
            entries=entries,
            next_place=_place(entries[-1]) if has_more else None,
            position=position,
            new_count=len(await feed.list_new_matches(conn)) if max_matches else 0,
            faces=await faces.list_faces(conn),
            jobs=own_jobs,
            pool=await jobs.load_pool(conn) if explain else None,
            cases=await cases.list_own_cases(conn),
            membership=await schools.load_membership(conn),
            is_paused=await jobs.is_search_paused(conn),
        )
    _note_seen(deliveries, claims, overview.entries)
    return overview


async def load_match(
    db: Database,
    claims: Claims,
    match_id: UUID,
    order: FeedOrder,
    *,
    since: datetime | None = None,
) -> MatchView | None:
    """Return a match of the person, who sees it now; None when it is gone or never was.

    Where only new ones are gone through, those that the person saw *since* still count.
    """
    async with db.as_user(claims) as conn:
        match = await feed.show_match(conn, match_id)
        if match is None:
            return None
        place = _place(match)
        before, after = [
            await feed.list_matches(conn, order, after=place, back=back, since=since, limit=1)
            for back in (True, False)
        ]
        if match.is_new and match.match_id:
            await feed.mark_matches_seen(conn, [match.match_id])
        new_count = len(await feed.list_new_matches(conn))
    return MatchView(
        match,
        before[0].match_id if before else None,
        after[0].match_id if after else None,
        new_count,
    )


async def mark_seen(db: Database, claims: Claims, match_ids: Sequence[UUID]) -> int:
    """Note that a person was shown these matches; return how many are still new."""
    async with db.as_user(claims) as conn:
        await feed.mark_matches_seen(conn, match_ids)
        return len(await feed.list_new_matches(conn))


async def load_participation(
    live: LiveFeed, claims: Claims
) -> tuple[list[OwnCase], Membership | None]:
    """Return what decides whether a person takes part: their cases, and their membership."""
    news = await live.reader.read(NewsQuery(claims, participation=True))
    return news.cases, next(iter(news.memberships), None)


async def load_pool(live: LiveFeed, claims: Claims) -> MatchPool | None:
    """Return among how many people a person is searched for; None without a profile."""
    news = await live.reader.read(NewsQuery(claims, pool=True))
    return next(iter(news.pools), None)


async def open_feed(
    live: LiveFeed,
    claims: Claims,
    encode: Encode,
    *,
    ping: str,
    after: int | None,
    last_event_id: str | None,
    shows_new: bool = True,
) -> FeedStream:
    """Return the live feed of a person, opened; *last_event_id* takes precedence over *after*.

    Without *shows_new* it does not tell which matches the person has not seen.

    Raises:
        TooManyStreamsError: this person has too many streams open already.
    """
    resumed_after = parse_position(last_event_id)
    stream = FeedStream(live, claims, encode, ping=ping, shows_new=shows_new)
    await stream.open(after=resumed_after if resumed_after is not None else after)
    return stream


def _place(entry: FeedEntry) -> FeedPlace:
    return FeedPlace(entry.place, entry.similarity)


def _note_seen(deliveries: Deliveries, claims: Claims, entries: Sequence[FeedEntry]) -> None:
    assert claims.subject is not None
    since = datetime.now(UTC) - _NEW
    new = [entry.match_id for entry in entries if entry.match_id and entry.created_at > since]
    deliveries.note_seen(claims.subject, new)


async def _load_page(conn: Connection, *, before: int | None, limit: int) -> FeedPage:
    # The position is read first: what arrives in between comes again with the stream.
    position = await feed.load_feed_position(conn)
    entries = await feed.load_feed_page(conn, before=before, limit=limit)
    last = entries[-1].place if len(entries) == limit else None
    # A page of the maximum length has no room for one more entry that would show there are more.
    more = await feed.load_feed_page(conn, before=last, limit=1) if last is not None else []
    return FeedPage(entries, last if more else None, position)
