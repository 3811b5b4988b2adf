"""The data folder: created closed to other users, and made durable."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

from automatch.errors.configuration import SettingsError

if TYPE_CHECKING:
    from pathlib import Path

_MARKER = ".made-by-automatch"


def create_data_dir(data_dir: Path) -> None:
    """Create the data folder with mode 0700; an existing one is not changed.

    Raises:
        SettingsError: it cannot be created.
    """
    try:
        data_dir.parent.mkdir(parents=True, exist_ok=True)
        try:
            data_dir.mkdir(mode=0o700)
        except FileExistsError:
            if not data_dir.is_dir():
                raise
            return
        (data_dir / _MARKER).touch(mode=0o600)
    except OSError as exc:
        raise SettingsError(
            f"The data folder {data_dir} cannot be created ({exc.strerror}); "
            "set AUTOMATCH_HOME to a folder that you may write to."
        ) from exc


def sync_folder(folder: Path) -> None:
    """Make durable what was created, renamed or deleted in a folder.

    Raises:
        OSError: the disk refuses it.
    """
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def advise_on_write(path: Path, exc: OSError) -> str:
    """Return what lets Auto-Match use a file or folder that refused it."""
    if exc.errno in {errno.ENOSPC, errno.EDQUOT}:
        return f"free space on the disk of {path}"
    if exc.errno == errno.EROFS:
        return f"let the disk of {path} be written to: it is read-only"
    return f"give {path} to the user that runs Auto-Match (`chown`)"


def is_our_data_dir(data_dir: Path) -> bool:
    """Tell whether Auto-Match created this folder and so may change its mode."""
    return (data_dir / _MARKER).exists()
