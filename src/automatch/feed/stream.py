"""One person's live feed on an open connection.

A match carries its position as the id of its event: a client that reconnects with the last id it
saw gets everything after that, also after a restart. The state of a job carries no id: it is sent
when a stream opens and whenever it changes.

A stream that waits is an object and no task: thousands of them wait at a time. Woken, it reads its
news and writes them, one event after the other; a client that does not take one gets no other, and
loses its connection after a while. So nothing is queued for anybody.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextvars import Context, copy_context
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Protocol
from uuid import UUID

from automatch.errors.auth import TokenInvalidError
from automatch.errors.request import TooManyStreamsError
from automatch.errors.store import StoreError
from automatch.feed.notifier import Subscriber
from automatch.feed.reader import PAGE
from automatch.model.jobs import Job
from automatch.model.matches import FeedEntry
from automatch.model.people import Claims
from automatch.store.matching.news import News, NewsQuery

if TYPE_CHECKING:
    from automatch.feed.live import LiveFeed

_COMMIT = timedelta(seconds=1)
"""From the time that a match carries until its commit."""


@dataclass(frozen=True, slots=True)
class Ready:
    """The stream is open; all changes after this position will follow."""

    position: int


@dataclass(frozen=True, slots=True)
class Reauth:
    """Token expired or session ended; the client reconnects with a new token and the last id."""


@dataclass(frozen=True, slots=True)
class New:
    """Which matches the person has not seen yet; told when a stream opens and when it changes."""

    match_ids: frozenset[UUID]


@dataclass(frozen=True, slots=True)
class StateChange:
    """Neither feed nor jobs have changed: perhaps whether the person takes part, or the queue."""


FeedEvent = Ready | FeedEntry | Job | New | StateChange | Reauth
Encode = Callable[[AsyncIterator[FeedEvent]], AsyncIterator[str]]
"""Returns the text of each of some events that come together."""


class Wire(Protocol):
    """A client's connection, once its response has begun."""

    on_lost: Callable[[], None]
    """Called when the connection has ended."""

    def write(self, text: str) -> None:
        """Send a part of the response."""
        ...

    @property
    def is_free(self) -> bool:
        """Whether the client has taken all that was written."""
        ...

    async def wait_until_free(self) -> None:
        """Wait until it has, or is gone."""
        ...

    def close(self) -> None:
        """End the response."""
        ...


class FeedStream:
    """Tells one client the changes of a person's feed, until the connection ends."""

    __slots__ = (
        "_context",
        "_encode",
        "_first",
        "_is_woken",
        "_live",
        "_opened",
        "_ping",
        "_position",
        "_read_at",
        "_sent",
        "_sent_new",
        "_shows_new",
        "_subscriber",
        "_task",
        "_wire",
    )

    def __init__(
        self, live: LiveFeed, claims: Claims, encode: Encode, *, ping: str, shows_new: bool = True
    ) -> None:
        """Tell nothing yet; without *shows_new* `New` is neither told nor read."""
        self._live = live
        self._shows_new = shows_new
        self._encode = encode
        self._ping = ping
        self._subscriber = Subscriber(claims, self.wake)
        # What is written later is in the language of the request.
        self._context: Context = copy_context()
        self._first: News | None = None
        self._sent: frozenset[int] = frozenset()
        self._sent_new: int | None = None
        self._position = 0
        self._is_woken = False
        self._wire: Wire | None = None
        self._task: asyncio.Task[None] | None = None

    async def open(self, *, after: int | None) -> None:
        """Begin after a position; None means from now on.

        Raises:
            TokenInvalidError: the session has ended already.
            TooManyStreamsError: this person has too many streams open already.
        """
        claims, live = self._subscriber.claims, self._live
        assert claims.subject is not None
        if live.notifier.count_streams(claims.subject) >= live.settings.max_streams_per_person:
            raise TooManyStreamsError
        self._opened = live.deliveries.open_page()
        live.notifier.add(self._subscriber, as_stream=True)
        self._read_at = datetime.now(UTC)
        query = NewsQuery(
            claims, position=True, feed_after=after, jobs=True, unseen=self._shows_new
        )
        try:
            self._first = await live.reader.read(query)
        except BaseException:
            self.close()
            raise
        [newest] = self._first.positions
        # A position beyond the newest comes from before the database was restored from a backup.
        self._position = newest if after is None else min(after, newest)

    async def encode_opening(self) -> str:
        """Return the first event, and with it what is new where there is nothing else to tell."""
        return "".join([text async for text in self._encode(self._opening())])

    def attach(self, wire: Wire) -> None:
        """Go on over the connection whose response has begun, from what has changed meanwhile."""
        self._wire = wire
        wire.on_lost = self.close
        self._live.pings.add(self)
        if self._is_woken or self._first is not None:
            self._begin_to_tell()

    def close(self) -> None:
        """Forget the stream; more than once does no harm."""
        self._live.notifier.remove(self._subscriber, as_stream=True)
        self._live.pings.discard(self)
        self._wire = None
        if self._task is not None:
            self._task.cancel()

    def wake(self) -> None:
        """Read and tell what has changed."""
        self._is_woken = True
        self._begin_to_tell()

    def ping(self) -> None:
        """Show that the connection lives, unless the stream has to end or tells something."""
        if _has_expired(self._subscriber.claims):
            self.wake()
        elif self._task is None and self._wire is not None and self._wire.is_free:
            self._wire.write(self._ping)

    def _begin_to_tell(self) -> None:
        if self._task is None and self._wire is not None:
            loop = asyncio.get_running_loop()
            self._task = loop.create_task(self._tell(self._wire), context=self._context)

    async def _tell(self, wire: Wire) -> None:
        try:
            while (self._is_woken or self._first is not None) and self._wire is not None:
                if self._live.notifier.closing.is_set():
                    self._end(wire)
                elif self._subscriber.has_ended or _has_expired(self._subscriber.claims):
                    await self._end_with_reauth(wire)
                else:
                    await self._write(wire, self._news())
        except TokenInvalidError:
            await self._end_with_reauth(wire)
        except StoreError:
            poll_s = self._live.settings.poll_s
            asyncio.get_running_loop().call_later(poll_s, self.wake)
        except Exception:
            # Otherwise the client would wait for ever.
            self._end(wire)
            raise
        finally:
            self._task = None

    async def _write(self, wire: Wire, events: AsyncIterator[FeedEvent]) -> None:
        async for text in self._encode(events):
            wire.write(text)
            if not wire.is_free:
                await wire.wait_until_free()

    async def _end_with_reauth(self, wire: Wire) -> None:
        await self._write(wire, _only(Reauth()))
        self._end(wire)

    def _end(self, wire: Wire) -> None:
        wire.close()
        self._task = None
        self.close()

    async def _opening(self) -> AsyncIterator[FeedEvent]:
        yield Ready(self._position)
        # Photos and cards are told one by one, to a client that takes them.
        if self._first is not None and not (self._first.jobs or self._first.entries):
            async for event in self._news():
                yield event

    async def _news(self) -> AsyncIterator[FeedEvent]:
        claims, live = self._subscriber.claims, self._live
        assert claims.subject is not None
        since, read_at = self._read_at - _COMMIT, datetime.now(UTC)
        news, self._first = self._first, None
        if news is None:
            self._is_woken = False
            query = NewsQuery(claims, feed_after=self._position, jobs=True, unseen=self._shows_new)
            news = await live.reader.read(query)
            self._read_at = read_at
        # A number for each instead of some kilobytes, as long as the stream waits.
        states = {hash(repr(job)): job for job in reversed(news.jobs)}
        for state, job in states.items():
            if state not in self._sent:
                yield job
                if job.completed_at is not None and job.completed_at > since:
                    live.notifier.note_end_told(job, job.completed_at)
        is_bare = not news.entries and states.keys() <= self._sent
        self._sent = frozenset(states)
        for entry in news.entries:
            self._position = entry.position
            yield entry
            # Whoever asks for the next event has written this one.
            if entry.match_id is not None:
                live.deliveries.note(claims.subject, entry.match_id, opened=self._opened)
                live.notifier.note_delivery(entry.created_at, since=since)
        new = New(frozenset(news.unseen))
        if self._shows_new and hash(new) != self._sent_new:
            self._sent_new = hash(new)
            yield new
        elif is_bare:
            yield StateChange()
        self._is_woken |= len(news.entries) == PAGE


async def _only(event: FeedEvent) -> AsyncIterator[FeedEvent]:
    yield event


def _has_expired(claims: Claims) -> bool:
    return claims.expires_at is not None and claims.expires_at <= time.time()
