"""What a server tells of itself, so that operators see which ones run and how busy they are."""

from __future__ import annotations

import asyncio
import socket
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from uuid import uuid4

from automatch import __version__
from automatch.errors import AutomatchError
from automatch.feed.notifier import FeedNotifier
from automatch.store.database import Database
from automatch.store.operation import servers
from automatch.telemetry.metrics import ServerMetrics

_EVERY_S = 10.0


class ServerReport:
    """Shows signs of life of this server."""

    def __init__(
        self,
        db: Database,
        notifier: FeedNotifier,
        metrics: ServerMetrics,
        read_keys: Callable[[], Mapping[str, str]] = dict,
    ) -> None:
        """*read_keys* gives the fingerprints of what has to be the same on all hosts."""
        self._db = db
        self._read_keys = read_keys
        self._notifier = notifier
        self._metrics = metrics
        self._id = uuid4()
        self._reported: Counter[str] = Counter()

    async def run(self) -> None:
        """Report every ten seconds until cancelled; while the database is away nobody looks."""
        while True:
            with suppress(AutomatchError):
                await self.report()
            await asyncio.sleep(_EVERY_S)

    async def report(self) -> None:
        """Report once.

        Raises:
            DatabaseUnavailableError: the database does not answer.
        """
        streams, channels = self._notifier.count_clients()
        refusals = Counter(self._metrics.count_refusals())
        keys = await asyncio.to_thread(self._read_keys)
        async with self._db.connection() as conn:
            await servers.report_server(
                conn,
                self._id,
                host=socket.gethostname(),
                version=__version__,
                streams=streams,
                channels=channels,
                refusals=refusals - self._reported,
                keys=keys,
            )
        self._reported = refusals

    async def close(self) -> None:
        """Report once more, and say that the server stops."""
        with suppress(AutomatchError):
            await self.report()
            async with self._db.connection() as conn:
                await servers.forget_server(conn, self._id)
