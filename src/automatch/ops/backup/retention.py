"""Which backups are kept, and what goes with the others."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from automatch.ops.backup.manifest import PHOTOS, parse_photo_list, read_manifest
from automatch.ops.backup.place import POOLS, Place, parse_backup_name


def choose_kept(names: Iterable[str], *, daily: int, weekly: int) -> set[str]:
    """Return the newest backup of each of the last days and weeks that have any."""
    newest_of_day: dict[str, str] = {}
    newest_of_week: dict[tuple[int, int], str] = {}
    for name in sorted(names, reverse=True):
        taken_at: datetime = parse_backup_name(name)
        newest_of_day.setdefault(f"{taken_at:%Y-%m-%d}", name)
        newest_of_week.setdefault(taken_at.isocalendar()[:2], name)
    return {*list(newest_of_day.values())[:daily], *list(newest_of_week.values())[:weekly]}


async def prune(place: Place, *, daily: int, weekly: int) -> list[str]:
    """Delete backups that are not kept, and photos that none has any more; return the names.

    Raises:
        BackupError: the place cannot be used.
    """
    names = await place.list_backups()
    kept = choose_kept(names, daily=daily, weekly=weekly)
    removed = [name for name in names if name not in kept]
    for name in removed:
        await place.remove(name)
    used = set()
    for name in kept:
        manifest = await read_manifest(place, name)
        listed = parse_photo_list(await place.read(f"{name}/{PHOTOS}") or b"")
        used |= {manifest.pool_key(file) for file in listed}
    await place.delete(key for key in await place.list_keys(POOLS) if key not in used)
    return removed
