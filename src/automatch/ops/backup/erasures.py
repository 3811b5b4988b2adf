"""The log of erasures beside the backups, by which whoever comes back with one goes again."""

from __future__ import annotations

import asyncio
from pathlib import Path

from automatch.ops.backup.place import Place
from automatch.store.protection.erasure_log import ErasureLog, LoggedErasure, parse_log, write_lines

KEY = "erasures.log"


class ErasureCopy:
    """Copies the file to the place whenever it has grown."""

    def __init__(self, path: Path, place: Place) -> None:
        self._path = path
        self._place = place
        self._copied_size = 0

    async def refresh(self) -> bool:
        """Copy what is new; return whether the file had grown.

        Raises: as `copy_erasures`.
        """
        size = await asyncio.to_thread(_size, self._path)
        if size == self._copied_size:
            return False
        await copy_erasures(self._path, self._place)
        self._copied_size = size
        return True


async def copy_erasures(path: Path, place: Place) -> int:
    """Add the lines of the file to those at the place; return how many were new there.

    Raises:
        BackupError: the place cannot be used.
        ErasureLogError: the file cannot be read.
    """
    there = await read_erasures(place)
    new = _lacking(there, await asyncio.to_thread(ErasureLog(path).read))
    if new:
        await place.write(KEY, write_lines([*there, *new]).encode())
    return len(new)


async def fetch_erasures(path: Path, place: Place) -> int:
    """Add the lines at the place to those of the file; return how many were new there.

    Raises: as `copy_erasures`.
    """
    log = ErasureLog(path)
    new = _lacking(await asyncio.to_thread(log.read), await read_erasures(place))
    if new:
        await asyncio.to_thread(log.append, new)
    return len(new)


async def read_erasures(place: Place) -> list[LoggedErasure]:
    """Return everybody who was erased, as the place knows."""
    return parse_log((await place.read(KEY) or b"").decode(errors="replace"))


def _lacking(there: list[LoggedErasure], lines: list[LoggedErasure]) -> list[LoggedErasure]:
    known = {each.person_sha256 for each in there}
    return [each for each in lines if each.person_sha256 not in known]


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0
