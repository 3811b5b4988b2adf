"""Where changes come from: each source reads with a person's rights, from now on."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict
from typing import Protocol
from uuid import UUID

from automatch.feed.reader import FeedReader
from automatch.model.jobs import Job
from automatch.model.people import Claims
from automatch.store.database import Connection
from automatch.store.matching.feed import load_match_number
from automatch.store.matching.news import NewsQuery
from automatch.store.queue.jobs import list_jobs
from automatch.supabase_compat.realtime.subscription import Change
from automatch.supabase_compat.realtime.table import JOBS, MATCHES, Table

_KNOWN_JOBS = 200
"""When photos are deleted, older jobs move up among the newest ones without being new."""


class Source(Protocol):
    """The changes of one table."""

    async def start(self, conn: Connection) -> None:
        """Read the present state; only what differs from it later is a change."""
        ...

    async def read(self, reader: FeedReader, claims: Claims) -> list[Change]:
        """Return the next changes, oldest first; the same ones again until `commit` is called.

        The transaction that read them may still fail, or the client may not get them.
        """
        ...

    def commit(self) -> None:
        """Continue after the changes that were read last."""
        ...


class MatchSource:
    """New matches: every one of them, in the order of their commits."""

    def __init__(self) -> None:
        self._last = self._read = 0

    async def start(self, conn: Connection) -> None:
        self._last = await load_match_number(conn)

    async def read(self, reader: FeedReader, claims: Claims) -> list[Change]:
        self._read = self._last
        # A page of rows that the person may not see is not the end.
        while True:
            found = (await reader.read(NewsQuery(claims, matches_after=self._read))).matches
            if not found:
                return []
            self._read = found[-1][0]
            if rows := [row for _, row in found if row["id"] is not None]:
                return [Change(MATCHES, "INSERT", row, row["created_at"]) for row in rows]

    def commit(self) -> None:
        self._last = self._read


class JobSource:
    """The person's jobs as they are at each read; states in between are skipped."""

    def __init__(self) -> None:
        self._seen: dict[UUID, Job] = {}
        self._read: dict[UUID, Job] = {}

    async def start(self, conn: Connection) -> None:
        self._seen = {job.id: job for job in reversed(await list_jobs(conn, _KNOWN_JOBS))}

    async def read(self, reader: FeedReader, claims: Claims) -> list[Change]:
        changes = []
        jobs = (await reader.read(NewsQuery(claims, jobs=True))).jobs
        self._read = {job.id: job for job in reversed(jobs)}
        for job in self._read.values():
            before = self._seen.get(job.id)
            if before != job:
                at = job.completed_at or job.started_at or job.created_at
                event = "INSERT" if before is None else "UPDATE"
                changes.append(Change(JOBS, event, asdict(job), at))
        return changes

    def commit(self) -> None:
        self._seen |= self._read
        while len(self._seen) > _KNOWN_JOBS:
            del self._seen[next(iter(self._seen))]


_SOURCES: dict[str, type[MatchSource | JobSource]] = {
    MATCHES.name: MatchSource,
    JOBS.name: JobSource,
}


def sources_for(tables: Iterable[Table]) -> list[Source]:
    """Return a source for each of these tables."""
    return [_SOURCES[name]() for name in sorted({table.name for table in tables})]
