"""Remembers for a moment that a server did not answer, so that calls do not each wait for it."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from automatch.errors.store import DatabaseUnavailableError

RETRY_AFTER_S = 1.0
"""How long calls are refused after a failure; then one at a time is let through to try again."""


class CircuitBreaker:
    """Refuses calls at once after a failure, until one that was let through succeeds."""

    def __init__(
        self, failures: type[Exception], *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._failures = failures
        self._clock = clock
        self._retry_at = -math.inf
        self._is_open = False
        self._is_trying = False

    @property
    def is_open(self) -> bool:
        """Whether calls are refused until one has succeeded."""
        return self._is_open

    @contextmanager
    def attempt(self) -> Iterator[None]:
        """Run the block, and remember whether it failed.

        Raises:
            DatabaseUnavailableError: a call has failed just now; the block was not run.
        """
        is_trial = self._is_open
        if is_trial and (self._is_trying or self._clock() < self._retry_at):
            raise DatabaseUnavailableError
        self._is_trying = self._is_trying or is_trial
        try:
            yield
            self._is_open = False
        except self._failures:
            self._is_open = True
            self._retry_at = self._clock() + RETRY_AFTER_S
            raise
        finally:
            # Also after a cancellation, which says nothing of the server: the next call tries.
            if is_trial:
                self._is_trying = False
