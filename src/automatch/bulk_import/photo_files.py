"""The photos of a list: files inside its folder, and never any other file."""

from __future__ import annotations

import os
import stat
from pathlib import Path, PurePosixPath

from automatch.errors.request import InputInvalidError
from automatch.errors.upload import BodyTooLargeError, FileMissingError


class PhotoFiles:
    """Reads the photos of one folder."""

    def __init__(self, folder: Path, max_bytes: int) -> None:
        self._folder = folder.resolve()
        self._max_bytes = max_bytes

    def check(self, name: str) -> None:
        """Check that a photo exists, without reading it.

        Raises: see `read`.
        """
        os.close(self._open(name))

    def read(self, name: str) -> bytes:
        """Return a photo by its path in the folder.

        Raises:
            InputInvalidError: the path leads out of the folder, directly or through a link.
            FileMissingError: there is no such file, or it cannot be read.
            BodyTooLargeError: it is larger than an upload may be.
        """
        with os.fdopen(self._open(name), "rb") as file:
            data = file.read(self._max_bytes + 1)
        if len(data) > self._max_bytes:
            raise BodyTooLargeError
        return data

    def _open(self, name: str) -> int:
        path = PurePosixPath(name)
        if not name or "\0" in name or "\\" in name or path.is_absolute() or ".." in path.parts:
            raise InputInvalidError("file: give a path inside the folder of the list.")
        try:
            real = (self._folder / path).resolve()
            if not real.is_relative_to(self._folder):
                raise InputInvalidError("file: a link leads out of the folder of the list.")
            # No link that was created meanwhile, and no pipe on which opening would block.
            descriptor = os.open(real, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        except (OSError, RuntimeError) as exc:
            raise FileMissingError("file: there is no such file, or it cannot be read.") from exc
        status = os.fstat(descriptor)
        if stat.S_ISREG(status.st_mode) and status.st_size <= self._max_bytes:
            return descriptor
        os.close(descriptor)
        if stat.S_ISREG(status.st_mode):
            raise BodyTooLargeError(
                f"file: the photo is larger than {self._max_bytes} bytes; scale it down."
            )
        raise FileMissingError("file: this is not a regular file.")
