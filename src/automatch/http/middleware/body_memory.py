"""How many bytes of uploads one server holds in memory, in all and for each person.

A photo is kept in memory from its first byte until its request is answered, however slowly it
arrives. So each request reserves what it announced, or the limit of its route if it announced
nothing, before a byte of the body is read.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from uuid import UUID

from automatch.errors.upload import UploadsAtOnceError, UploadsBusyError
from automatch.settings.server import UploadSettings


class BodyMemory:
    """The reservations of one server."""

    def __init__(self, settings: UploadSettings) -> None:
        self._max_bytes = settings.memory_mb * 1024**2
        self._max_bytes_per_person = settings.memory_per_person_mb * 1024**2
        self._bytes = 0
        self._bytes_of: Counter[UUID] = Counter()

    def reserve(self, size: int, person: UUID | None) -> Callable[[], None]:
        """Reserve *size* bytes; return what gives them back.

        A single body is always accepted, so that settings cannot rule out the largest one.

        Args:
            size: bytes of the body.
            person: None for the holder of a key of the project.

        Raises:
            UploadsAtOnceError: the person has reserved too much already.
            UploadsBusyError: all requests together have.
        """
        held = self._bytes_of[person] if person is not None else 0
        if held and held + size > self._max_bytes_per_person:
            raise UploadsAtOnceError
        if self._bytes and self._bytes + size > self._max_bytes:
            raise UploadsBusyError
        self._add(size, person)
        return lambda: self._add(-size, person)

    def _add(self, size: int, person: UUID | None) -> None:
        self._bytes += size
        if person is not None:
            self._bytes_of[person] += size
            if not self._bytes_of[person]:
                del self._bytes_of[person]
