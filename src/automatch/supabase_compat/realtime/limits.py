"""Limits on connections, channels and messages."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from uuid import UUID

from automatch.errors.request import TooManyStreamsError
from automatch.settings.server import RealtimeSettings


class TokenBucket:
    """A rate limit with a burst: *burst* tokens at once, refilled at *per_second*."""

    def __init__(
        self, burst: int, per_second: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._capacity = self._tokens = float(burst)
        self._per_second = per_second
        self._clock = clock
        self._updated_at = clock()

    def take(self) -> bool:
        """Take a token; False when none is left."""
        now = self._clock()
        self._tokens = min(
            self._capacity, self._tokens + (now - self._updated_at) * self._per_second
        )
        self._updated_at = now
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True


class ConnectionLimits:
    """The connections of this server, and the channels of each person on them."""

    def __init__(self, settings: RealtimeSettings) -> None:
        self._settings = settings
        self._connections = 0
        self._channels: Counter[UUID] = Counter()

    @contextmanager
    def connection(self) -> Iterator[None]:
        """Count a connection while the block lasts.

        Raises:
            TooManyStreamsError: the server has as many as it may.
        """
        if self._connections >= self._settings.max_connections:
            raise TooManyStreamsError
        self._connections += 1
        try:
            yield
        finally:
            self._connections -= 1

    @contextmanager
    def channel(self, person_id: UUID) -> Iterator[None]:
        """Count a channel of a person while the block lasts.

        Raises:
            TooManyStreamsError: the person has as many as they may.
        """
        if self._channels[person_id] >= self._settings.max_channels_per_person:
            raise TooManyStreamsError
        self._channels[person_id] += 1
        try:
            yield
        finally:
            self._channels[person_id] -= 1
            if not self._channels[person_id]:
                del self._channels[person_id]
