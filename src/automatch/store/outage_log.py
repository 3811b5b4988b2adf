"""The log of what fails again and again while a server is away."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable

import structlog

REPEAT_S = 60.0

log = structlog.get_logger(__name__)


class OutageLog:
    """Logs a failure when it is new or another one, else once a minute with how often it came.

    Args:
        failure: the event to log.
        end: the event to log once it is over; None logs nothing.
    """

    def __init__(
        self, failure: str, *, end: str | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._failure = failure
        self._end = end
        self._clock = clock
        self._error: str | None = None
        self._times = 0
        self._logged_at = -math.inf

    def failed(self, error: str, *, level: int = logging.WARNING, **values: object) -> None:
        """Log the failure *error*, the name of its type, unless it was logged a moment ago."""
        is_new = error != self._error
        self._times = 1 if is_new else self._times + 1
        self._error = error
        now = self._clock()
        if not is_new and now - self._logged_at < REPEAT_S:
            return
        self._logged_at = now
        log.log(level, self._failure, error=error, times=self._times, **values)

    def ended(self) -> None:
        """Log that it is over, if it has failed before."""
        if self._error is not None and self._end is not None:
            log.info(self._end, times=self._times)
        self._error = None
