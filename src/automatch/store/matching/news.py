"""What changed for many people, read in one transaction, each person's rows as that person.

The role and the claims change inside of a statement (`take_role_of` in sql/schema/51_feed.sql): for
21 people who are told of a photo that is one round trip, and each still sees what the policies let
them see.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar
from uuid import UUID

from psycopg.rows import kwargs_row

from automatch.model.cases import OwnCase
from automatch.model.jobs import Job
from automatch.model.matches import FeedEntry, MatchPool
from automatch.model.people import Claims
from automatch.model.schools import Membership
from automatch.store.accounts.accounts import send_ended_sessions
from automatch.store.call import send
from automatch.store.database import Database
from automatch.store.protection.cases import own_case_of
from automatch.store.queue.jobs import job_of

if TYPE_CHECKING:
    from psycopg import AsyncCursor
    from psycopg.rows import AsyncRowFactory

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class NewsQuery:
    """What one person asks for."""

    claims: Claims
    position: bool = False
    """Whether to read the newest position of the feed."""
    feed_after: int | None = None
    """The feed is read after this position."""
    jobs: bool = False
    unseen: bool = False
    """Whether to read which matches the person has not seen."""
    participation: bool = False
    """Whether to read what decides whether the person takes part."""
    pool: bool = False
    """Whether to read among how many people the person is searched for."""
    matches_after: int | None = None
    """New matches are read after this number."""


@dataclass(slots=True)
class News:
    """What one person may read."""

    positions: list[int] = field(default_factory=list)
    """The newest position of the feed, where that was asked for."""
    entries: list[FeedEntry] = field(default_factory=list)
    """Oldest first; those without a match were removed."""
    jobs: list[Job] = field(default_factory=list)
    """Newest first."""
    unseen: list[UUID] = field(default_factory=list)
    """A hundred at most."""
    cases: list[OwnCase] = field(default_factory=list)
    """What was reported, by the person or about them, newest first."""
    memberships: list[Membership] = field(default_factory=list)
    """How far the person is with their school, if they have chosen one."""
    pools: list[MatchPool] = field(default_factory=list)
    """Among how many people the person is searched for, where that was asked for."""
    matches: list[tuple[int, dict[str, Any]]] = field(default_factory=list)
    """Rows with their numbers, in order; `id` is None where the person may not read it."""


async def read_news(
    db: Database, queries: Sequence[NewsQuery], *, limit: int, max_jobs: int
) -> list[News | None]:
    """Answer each query, up to *limit* entries and matches; None to those of ended sessions."""
    claims = [_element(query.claims) for query in queries]
    numbered = list(enumerate(queries))
    positions = [index for index, query in numbered if query.position]
    feeds = {index: query.feed_after for index, query in numbered if query.feed_after is not None}
    jobs = [index for index, query in numbered if query.jobs]
    unseen = [index for index, query in numbered if query.unseen]
    participation = [index for index, query in numbered if query.participation]
    pools = [index for index, query in numbered if query.pool]
    matches = {
        index: query.matches_after for index, query in numbered if query.matches_after is not None
    }
    sent: list[tuple[str, Sequence[int], AsyncCursor[tuple[int, Any]]]] = []
    async with db.pipelined_transaction() as conn:

        async def ask(
            kind: str, readers: Iterable[int], function: str, make: Callable[..., Any], **more: Any
        ) -> None:
            if asking := list(readers):
                own = f"{{{','.join(claims[index] for index in asking)}}}"
                rows = await send(conn, function, _by_reader(make), claims=own, **more)
                sent.append((kind, asking, rows))

        ended = await send_ended_sessions(conn, [query.claims for query in queries])
        await ask("positions", positions, "read_feed_positions", _position)
        await ask(
            "entries", feeds, "read_feeds", FeedEntry, after=list(feeds.values()), limit=limit
        )
        await ask("jobs", jobs, "read_own_jobs", job_of, limit=max_jobs)
        await ask("unseen", unseen, "read_unseen_matches", _unseen)
        await ask("cases", participation, "read_own_cases", own_case_of)
        await ask("memberships", participation, "read_memberships", Membership)
        await ask("pools", pools, "read_match_pools", MatchPool)
        after = list(matches.values())
        await ask("matches", matches, "read_new_matches", _match, after=after, limit=limit)
    answers = [News() for _ in queries]
    for kind, asking, cursor in sent:
        for reader, found in await cursor.fetchall():
            getattr(answers[asking[reader - 1]], kind).append(found)
    over = {number - 1 for (number,) in await ended.fetchall()}
    return [None if index in over else news for index, news in enumerate(answers)]


def _element(claims: Claims) -> str:
    """Return claims as an element of an array of jsonb, each written once for all questions."""
    text = json.dumps(claims.as_json())
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _by_reader(make: Callable[..., _T]) -> AsyncRowFactory[tuple[int, _T]]:
    """Return rows as pairs: the number of the reader, and what the other columns make."""
    return kwargs_row(lambda reader, **columns: (reader, make(**columns)))


def _position(*, position: int) -> int:
    return position


def _unseen(*, match_id: UUID) -> UUID:
    return match_id


def _match(*, number: int, **row: Any) -> tuple[int, dict[str, Any]]:
    return number, row
