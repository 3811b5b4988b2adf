"""One running Auto-Match per data folder, held by a lock that ends with the process."""

from __future__ import annotations

import fcntl
import os
from typing import TYPE_CHECKING, Self

from automatch.errors.configuration import InstanceRunningError, SettingsError
from automatch.settings.data_dir import create_home

if TYPE_CHECKING:
    from pathlib import Path


class InstanceLock:
    """Holds `lock` in the data folder; a context manager.

    The file is never removed: a process that locked the removed file and one that locked its
    successor would both go on.
    """

    def __init__(self, home: Path) -> None:
        self._home = home
        self._descriptor: int | None = None

    def acquire(self) -> None:
        """Take the lock without waiting.

        Raises:
            InstanceRunningError: another process, or another lock of this one, holds it.
        """
        create_home(self._home)
        path = self._home / "lock"
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
        except OSError as exc:
            raise SettingsError(
                f"The lock file {path} cannot be opened ({exc.strerror}); "
                "run Auto-Match as the user that owns the folder."
            ) from exc
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as exc:
            holder = os.pread(descriptor, 32, 0).decode(errors="replace").strip() or "unknown"
            os.close(descriptor)
            raise InstanceRunningError(
                f"Auto-Match already runs on {self._home} (process {holder}); "
                "stop it or set AUTOMATCH_HOME to another folder."
            ) from exc
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        self._descriptor = descriptor

    def release(self) -> None:
        """Give the lock back; harmless when it is not held."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def __enter__(self) -> Self:
        self.acquire()
        return self

    def __exit__(self, *_: object) -> None:
        self.release()


def is_running(home: Path) -> bool:
    """Tell whether an Auto-Match runs on this data folder just now."""
    try:
        with InstanceLock(home):
            return False
    except InstanceRunningError:
        return True
