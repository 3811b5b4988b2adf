"""The keys of the project that were printed: which there are, and which the operator has ended.

`project_keys.json` in the data folder holds no key, only the id (`jti`) that each one carries. A
key that is not listed is good until it expires, as those that a process makes for itself are.
"""

from __future__ import annotations

import fcntl
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import structlog

from automatch.errors.auth import TokenInvalidError
from automatch.errors.configuration import SecretsError
from automatch.settings.data_dir import create_data_dir
from automatch.settings.secrets import read_closed, write_closed

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class ProjectKey:
    """A key that was printed. Times are seconds since the epoch."""

    id: str
    role: str
    made_at: int
    expires_at: int
    ended_at: int | None = None


class ProjectKeys:
    """The list in a data folder, which any number of processes read and change."""

    def __init__(self, data_dir: Path) -> None:
        self._path = data_dir / "project_keys.json"
        self._seen: tuple[int, int] | None = None
        self._ended: frozenset[str] = frozenset()

    def list(self) -> list[ProjectKey]:
        """Return the keys that have not expired, oldest first.

        Raises:
            SecretsError: the file is damaged, or other users can read it.
        """
        try:
            keys = [ProjectKey(**each) for each in json.loads(read_closed(self._path))]
        except FileNotFoundError:
            return []
        except (OSError, ValueError, TypeError) as exc:
            raise SecretsError(
                f"The list of keys {self._path} is damaged; restore it from a backup."
            ) from exc
        return [key for key in keys if key.expires_at > time.time()]

    def add(self, key: ProjectKey) -> None:
        """List a key.

        Raises: see `list`.
        """
        with self._locked():
            write_closed(self._path, [asdict(each) for each in (*self.list(), key)])

    def end(self, key_id: str) -> bool:
        """End a key: no process accepts it from now on. False when there is no such key.

        Raises: see `list`.
        """
        with self._locked():
            keys = self.list()
            changed = [
                replace(key, ended_at=key.ended_at or int(time.time())) if key.id == key_id else key
                for key in keys
            ]
            write_closed(self._path, [asdict(each) for each in changed])
        return any(key.id == key_id for key in keys)

    def check(self, key_id: str) -> None:
        """Return when a key was not ended; costs one look at the file's time of change.

        Raises:
            TokenInvalidError: it was, or the list cannot be read.
        """
        try:
            status = self._path.stat()
            if self._seen != (status.st_ino, status.st_mtime_ns):
                self._ended = frozenset(key.id for key in self.list() if key.ended_at is not None)
                self._seen = (status.st_ino, status.st_mtime_ns)
        except FileNotFoundError:
            return
        except (OSError, SecretsError) as exc:
            log.warning("keys of the project are refused: their list cannot be read")
            raise TokenInvalidError from exc
        if key_id in self._ended:
            raise TokenInvalidError("This key was ended; `automatch token` prints another.")

    @contextmanager
    def _locked(self) -> Iterator[None]:
        create_data_dir(self._path.parent)
        folder = os.open(self._path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.flock(folder, fcntl.LOCK_EX)
            yield
        finally:
            os.close(folder)
