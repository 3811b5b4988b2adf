"""A lock file that lets only one Auto-Match run on a data folder."""

from __future__ import annotations

import fcntl
import os
from typing import TYPE_CHECKING, Self

from automatch.errors.configuration import InstanceRunningError, SettingsError
from automatch.settings.data_dir import create_data_dir

if TYPE_CHECKING:
    from pathlib import Path


class LockFile:
    """Locks the file `lock` in the data folder; a context manager.

    The kernel releases the lock when the process ends. The file is never deleted: otherwise one
    process could lock the deleted file and another one the new file, and both would run.
    """

    def __init__(self, data_dir: Path) -> None:
        self._data_dir = data_dir
        self._descriptor: int | None = None

    def acquire(self) -> None:
        """Acquire the lock without waiting.

        Raises:
            InstanceRunningError: another process, or another `LockFile` of this process, holds it.
        """
        create_data_dir(self._data_dir)
        path = self._data_dir / "lock"
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
                f"Auto-Match already runs on {self._data_dir} (process {holder}); "
                "stop it or set AUTOMATCH_HOME to another folder."
            ) from exc
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        self._descriptor = descriptor

    def release(self) -> None:
        """Release the lock; does nothing if it is not held."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def __enter__(self) -> Self:
        self.acquire()
        return self

    def __exit__(self, *_: object) -> None:
        self.release()


def is_running(data_dir: Path) -> bool:
    """Tell whether an Auto-Match runs on this data folder now."""
    try:
        with LockFile(data_dir):
            return False
    except InstanceRunningError:
        return True
