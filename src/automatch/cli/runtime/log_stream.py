"""The stream of log lines: one that cannot be written is counted and ends nothing."""

from __future__ import annotations

import io
from typing import TextIO


class LogStream(io.TextIOBase):
    """Writes to another stream and raises nothing when that fails.

    A full disk, or a pipe whose reader has gone, must not end what a line reports on. The first
    line that can be written again is preceded by the number of those that could not.
    """

    def __init__(self, target: TextIO) -> None:
        self._target = target
        self.dropped = 0
        """Lines that could not be written since the last one that could."""

    def write(self, text: str) -> int:
        """Write a line, or count it; return its length either way."""
        try:
            if self.dropped:
                self._target.write(f"{self.dropped} log lines could not be written at once\n")
                self._target.flush()
                self.dropped = 0
            self._target.write(text)
            self._target.flush()
        except (OSError, ValueError):
            self.dropped += text.count("\n")
        return len(text)

    def flush(self) -> None:
        """Do nothing: every line is flushed as it is written."""

    def isatty(self) -> bool:
        """Tell whether a person reads along."""
        return self._target.isatty()
