"""Libraries' messages in the log: what one client does to a connection, thousands can do."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable

_REPEAT_S = 60.0
_MAX_KINDS = 1000


class OncePerMinute(logging.Filter):
    """Passes one message a minute, of those that differ in their values alone."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._clock = clock
        self._seen: dict[tuple[str, str, object], tuple[float, int]] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Tell whether to log *record*, and add to it how often it was not."""
        kind = record.exc_info[0] if isinstance(record.exc_info, tuple) else None
        key = (record.name, str(record.msg).partition("\n")[0], kind)
        now = self._clock()
        since, dropped = self._seen.get(key, (-math.inf, 0))
        if now - since < _REPEAT_S:
            self._seen[key] = (since, dropped + 1)
            return False
        if len(self._seen) > _MAX_KINDS:
            self._seen.clear()
        self._seen[key] = (now, 0)
        if dropped:
            line = record.getMessage().partition("\n")[0]
            record.msg = f"{line} (and {dropped} times more since it was logged last)"
            record.args = None
        return True
