"""One person's live feed as a sequence of events.

Matches carry their position as the event's id: whoever reconnects with the last id they saw gets
everything after it, across reconnects and restarts. The state of jobs carries no id: it is sent
whole when a stream opens and whenever it changes.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass

from automatch.errors.request import TooManyStreamsError
from automatch.errors.store import StoreError
from automatch.feed.notifier import FeedNotifier
from automatch.model.jobs import Job
from automatch.model.matches import FeedEntry
from automatch.model.people import Claims
from automatch.settings.server import FeedSettings
from automatch.store.database import Database
from automatch.store.feed import load_feed_news, load_feed_position
from automatch.store.jobs import list_jobs

_PAGE = 100
_JOBS = 20
"""The jobs a person can be waiting for; `feed_versions` in SQL should look at as many."""


@dataclass(frozen=True, slots=True)
class Ready:
    """The stream is open; everything after this position will come."""

    position: int


@dataclass(frozen=True, slots=True)
class Ping:
    """Nothing happened for a while; keeps proxies from closing the connection."""


@dataclass(frozen=True, slots=True)
class Reauth:
    """The token has expired; come back with a new one and the last id."""


FeedEvent = Ready | FeedEntry | Job | Ping | Reauth


async def follow(
    db: Database,
    notifier: FeedNotifier,
    claims: Claims,
    settings: FeedSettings,
    *,
    after: int | None,
) -> AsyncIterator[FeedEvent]:
    """Yield what happens in the caller's feed after a position; None means from now on.

    Ends when the token expires or the server stops. Trouble of the database is waited out.

    Raises:
        TooManyStreamsError: this person has too many streams open already.
    """
    assert claims.subject is not None
    if notifier.streams_of(claims.subject) >= settings.max_streams_per_person:
        raise TooManyStreamsError
    with notifier.watch(claims.subject) as news:
        async with db.as_user(claims) as conn:
            newest = await load_feed_position(conn)
        # A position from a database that was restored to an earlier day starts anew.
        position = newest if after is None else min(after, newest)
        yield Ready(position)
        sent: dict[object, Job] = {}
        while not notifier.closing.is_set():
            if _has_expired(claims):
                yield Reauth()
                return
            if not await _wait(news, settings.ping_s):
                yield Ping()
                continue
            news.clear()
            try:
                async with db.as_user(claims) as conn:
                    entries = await load_feed_news(conn, after=position, limit=_PAGE)
                    jobs = await list_jobs(conn, _JOBS)
            except StoreError:
                news.set()
                await _wait(notifier.closing, settings.poll_s)
                continue
            for job in reversed(jobs):
                if sent.get(job.id) != job:
                    yield job
            sent = {job.id: job for job in jobs}
            for entry in entries:
                position = entry.position
                yield entry
            if len(entries) == _PAGE:
                news.set()


async def open_stream(events: AsyncIterator[FeedEvent]) -> AsyncIterator[FeedEvent]:
    """Start *events* and return them whole.

    What keeps a stream from opening is raised here, while an error can still be answered.
    """
    first = await anext(events)

    async def whole() -> AsyncIterator[FeedEvent]:
        yield first
        async for event in events:
            yield event

    return whole()


def _has_expired(claims: Claims) -> bool:
    return claims.expires_at is not None and claims.expires_at <= time.time()


async def _wait(news: asyncio.Event, seconds: float) -> bool:
    try:
        async with asyncio.timeout(seconds):
            await news.wait()
    except TimeoutError:
        return False
    return True
