"""The log of erasures outside of the database, so that people stay erased after a restore.

A line for each erased person, with the hash of their id, which was random. The database has the
same lines (`automatch.erased_people`): those that it lacks were written after its backup.
"""

from __future__ import annotations

import fcntl
import json
import os
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from automatch.errors.store import ErasureLogError
from automatch.settings.data_dir import sync_folder

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class LoggedErasure:
    """A person who was erased."""

    person_sha256: str
    erased_at: datetime
    act: str


class ErasureLog:
    """A file that is only appended to; several processes may do so at once."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def append(self, erasures: Sequence[LoggedErasure]) -> None:
        """Write lines and return once they are on the disk. For a thread.

        Raises:
            ErasureLogError: the file cannot be written to.
        """
        lines = write_lines(erasures)
        try:
            is_new = not self.path.exists()
            descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
            with os.fdopen(descriptor, "r+b", buffering=0) as file:
                fcntl.flock(file, fcntl.LOCK_EX)
                # A line that a full disk cut off must not spoil the next one.
                size = file.seek(0, os.SEEK_END)
                if size and os.pread(file.fileno(), 1, size - 1) != b"\n":
                    lines = "\n" + lines
                file.write(lines.encode())
                os.fsync(file.fileno())
            if is_new:
                sync_folder(self.path.parent)
        except OSError as exc:
            raise self._unusable(exc) from exc

    def read(self) -> list[LoggedErasure]:
        """Return all lines, the oldest first; none where there is no file.

        Raises:
            ErasureLogError: the file cannot be read.
        """
        try:
            return parse_log(self.path.read_text("utf-8", errors="replace"))
        except FileNotFoundError:
            return []
        except OSError as exc:
            raise self._unusable(exc) from exc

    def _unusable(self, exc: OSError) -> ErasureLogError:
        return ErasureLogError(
            f"The log of erasures {self.path} cannot be used: {exc.strerror or exc}."
        )


def write_lines(erasures: Iterable[LoggedErasure]) -> str:
    """Return the lines of these people."""
    return "".join(
        json.dumps(
            {
                "person_sha256": each.person_sha256,
                "erased_at": each.erased_at.isoformat(),
                "act": each.act,
            }
        )
        + "\n"
        for each in erasures
    )


def parse_log(text: str) -> list[LoggedErasure]:
    """Return the people of all lines that are whole."""
    return [erasure for line in text.splitlines() if (erasure := _parse(line)) is not None]


def _parse(line: str) -> LoggedErasure | None:
    try:
        values = json.loads(line)
        return LoggedErasure(
            str(values["person_sha256"]),
            datetime.fromisoformat(values["erased_at"]),
            str(values["act"]),
        )
    except (ValueError, KeyError, TypeError):
        # Part of a line: the write was not finished, and is made again.
        return None
