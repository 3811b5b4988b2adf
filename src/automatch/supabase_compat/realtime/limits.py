"""Ends to what clients may ask of a server: connections, channels, messages."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from uuid import UUID

from automatch.errors.request import TooManyStreamsError
from automatch.settings.server import RealtimeSettings


class TokenBucket:
    """So many at once, and so many a second on the whole (a token bucket)."""

    def __init__(
        self, at_once: int, per_second: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._most = self._left = float(at_once)
        self._per_second = per_second
        self._clock = clock
        self._at = clock()

    def take(self) -> bool:
        """Take one; False when there is none left."""
        now = self._clock()
        self._left = min(self._most, self._left + (now - self._at) * self._per_second)
        self._at = now
        if self._left < 1:
            return False
        self._left -= 1
        return True


class ConnectionLimits:
    """The connections of this server, and the channels of each person on them."""

    def __init__(self, settings: RealtimeSettings) -> None:
        self._settings = settings
        self._connections = 0
        self._channels: Counter[UUID] = Counter()

    @contextmanager
    def connection(self) -> Iterator[None]:
        """Hold a seat for a connection.

        Raises:
            TooManyStreamsError: all are taken.
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
        """Hold one of a person's channels.

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
