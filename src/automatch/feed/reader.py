"""What open streams and channels read, for all that are woken together at once.

One commit wakes some twenty people; each of them asks for their news, and the questions that have
come until the database is free for them are one transaction. A question that fails by itself does
not take the others with it.
"""

from __future__ import annotations

import asyncio
from collections import deque
from contextvars import Context

from automatch.background import cancel_all
from automatch.errors.auth import TokenInvalidError
from automatch.errors.store import StoreError
from automatch.store.database import Database
from automatch.store.matching.news import News, NewsQuery, read_news

PAGE = 100
"""So many entries or matches are read at once; as many as that, and there may be more."""
_JOBS = 20
"""The jobs a person can be waiting for; `feed_versions` in SQL looks at as many."""
_BATCH = 100
_AT_ONCE = 2
"""Transactions at a time: what comes meanwhile is read together."""

_Question = tuple[NewsQuery, "asyncio.Future[News]"]


class FeedReader:
    """Reads the news of people, of many together."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self._waiting: deque[_Question] = deque()
        self._running: set[asyncio.Task[None]] = set()

    async def read(self, query: NewsQuery) -> News:
        """Return what a person asks for, as they may read it.

        Raises:
            TokenInvalidError: their session has ended.
            StoreError: the database does not answer.
        """
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[News] = loop.create_future()
        self._waiting.append((query, answer))
        if len(self._running) < _AT_ONCE:
            # In a context of its own: it reads for others than the request that began it.
            task = loop.create_task(self._read_waiting(), name="feed reader", context=Context())
            self._running.add(task)
            task.add_done_callback(self._running.discard)
        return await answer

    async def close(self) -> None:
        """Stop reading; nobody may be waiting any more."""
        await cancel_all([*self._running])

    async def _read_waiting(self) -> None:
        while self._waiting:
            batch = [self._waiting.popleft() for _ in range(min(_BATCH, len(self._waiting)))]
            # Whoever has left meanwhile waits for no answer.
            await self._answer([(query, answer) for query, answer in batch if not answer.done()])

    async def _answer(self, batch: list[_Question]) -> None:
        queries = [query for query, _ in batch]
        found: list[News | None] | Exception = []
        try:
            if queries:
                found = await read_news(self._db, queries, limit=PAGE, max_jobs=_JOBS)
        except StoreError as exc:
            found = exc
        except Exception as exc:
            if len(batch) > 1:
                for each in batch:
                    await self._answer([each])
                return
            found = exc
        except asyncio.CancelledError:
            for _, answer in batch:
                answer.cancel()
            raise
        for index, (_, answer) in enumerate(batch):
            news = found if isinstance(found, Exception) else found[index] or TokenInvalidError()
            if answer.done():
                continue
            if isinstance(news, Exception):
                answer.set_exception(news)
            else:
                answer.set_result(news)
