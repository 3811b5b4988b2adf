"""One person's live feed as a sequence of events.

A match carries its position as the id of its event: a client that reconnects with the last id it
saw gets everything after that, also after a restart. The state of a job carries no id: it is sent
when a stream opens and whenever it changes.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from automatch.errors.auth import TokenInvalidError
from automatch.errors.request import TooManyStreamsError
from automatch.errors.store import StoreError
from automatch.feed.deliveries import Deliveries
from automatch.feed.notifier import FeedNotifier
from automatch.feed.reader import PAGE, FeedReader
from automatch.model.jobs import Job
from automatch.model.matches import FeedEntry
from automatch.model.people import Claims
from automatch.settings.server import FeedSettings
from automatch.store.news import NewsQuery

_COMMIT = timedelta(seconds=1)
"""From the time that a match carries until its commit."""


@dataclass(frozen=True, slots=True)
class Ready:
    """The stream is open; all changes after this position will follow."""

    position: int


@dataclass(frozen=True, slots=True)
class Ping:
    """Nothing has changed for a while; this keeps proxies from closing the connection."""


@dataclass(frozen=True, slots=True)
class Reauth:
    """Token expired or session ended; the client reconnects with a new token and the last id."""


FeedEvent = Ready | FeedEntry | Job | Ping | Reauth


async def follow(
    reader: FeedReader,
    notifier: FeedNotifier,
    claims: Claims,
    settings: FeedSettings,
    deliveries: Deliveries,
    *,
    after: int | None,
) -> AsyncIterator[FeedEvent]:
    """Yield the changes of the caller's feed after a position; None means from now on.

    Ends when the token expires, the session ends or the server stops. A database outage only
    delays it.

    Raises:
        TokenInvalidError: the session has ended already.
        TooManyStreamsError: this person has too many streams open already.
    """
    assert claims.subject is not None
    if notifier.count_streams(claims.subject) >= settings.max_streams_per_person:
        raise TooManyStreamsError
    opened = deliveries.open_page()
    with notifier.subscribe(claims) as subscriber:
        changed = subscriber.changed
        [newest] = (await reader.read(NewsQuery(claims, position=True))).positions
        read_at = datetime.now(UTC)
        # A position beyond the newest comes from before the database was restored from a backup.
        position = newest if after is None else min(after, newest)
        yield Ready(position)
        sent: dict[object, Job] = {}
        while not notifier.closing.is_set():
            if subscriber.has_ended or _has_expired(claims):
                yield Reauth()
                return
            if not await _wait(changed, settings.ping_s):
                yield Ping()
                continue
            changed.clear()
            since, read_at = read_at - _COMMIT, datetime.now(UTC)
            try:
                news = await reader.read(NewsQuery(claims, feed_after=position, jobs=True))
            except TokenInvalidError:
                yield Reauth()
                return
            except StoreError:
                changed.set()
                await _wait(notifier.closing, settings.poll_s)
                continue
            for job in reversed(news.jobs):
                if sent.get(job.id) != job:
                    yield job
                    if job.completed_at is not None and job.completed_at > since:
                        notifier.note_end_told(job, job.completed_at)
            sent = {job.id: job for job in news.jobs}
            for entry in news.entries:
                position = entry.position
                yield entry
                # Whoever asks for the next event has written this one.
                if entry.match_id is not None:
                    deliveries.note(claims.subject, entry.match_id, opened=opened)
                    notifier.note_delivery(entry.created_at, since=since)
            if len(news.entries) == PAGE:
                changed.set()


async def open_stream(events: AsyncIterator[FeedEvent]) -> AsyncIterator[FeedEvent]:
    """Start *events* and return all of them.

    An error that keeps the stream from opening is raised here, before the response has begun.
    """
    first = await anext(events)

    async def with_first() -> AsyncIterator[FeedEvent]:
        yield first
        async for event in events:
            yield event

    return with_first()


def _has_expired(claims: Claims) -> bool:
    return claims.expires_at is not None and claims.expires_at <= time.time()


async def _wait(event: asyncio.Event, seconds: float) -> bool:
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        return False
    return True
