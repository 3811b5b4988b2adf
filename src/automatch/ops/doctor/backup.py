"""The backups: whether there are any, how old they are, and whether there can be more."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import datetime
from secrets import token_hex

from automatch.errors.configuration import SettingsError
from automatch.errors.store import BackupError
from automatch.ops.backup.place import open_place
from automatch.ops.doctor.check import Check, Requires, Result, fail, ok, skipped, warn
from automatch.ops.doctor.context import CheckContext
from automatch.sql.statements import load
from automatch.store.installation.backups import is_supabase

_SQL = load("doctor_backup")


@dataclass(frozen=True, slots=True)
class _Runs:
    made_at: datetime | None
    encrypted: bool | None
    is_old: bool
    error: str | None
    """Of the last one, if that failed."""
    erased_since: int


async def _recent(context: CheckContext) -> Result:
    settings = context.settings.backup
    if await is_supabase(context.database):
        return skipped("A Supabase project backs its database up itself.")
    # Two in a row may not fail.
    runs = await context.one(_Runs, _SQL["runs"], hours=2 * settings.every_h)
    reason = f" The last one failed: {runs.error}" if runs.error else ""
    where = (
        "`automatch backup`" if settings.to else "Set AUTOMATCH_BACKUP__TO, then `automatch backup`"
    )
    if runs.made_at is None:
        return warn(f"No backup has been made.{reason}", f"{where}.")
    made = f"{runs.made_at:%Y-%m-%d %H:%M} UTC"
    if runs.is_old:
        return fail(f"The last backup is of {made}.{reason}", f"{where}.")
    if reason:
        return warn(f"The last good backup is of {made}.{reason}", f"{where}.")
    if not runs.encrypted:
        return warn(
            f"The backup of {made} is not encrypted, and so has no secrets.",
            "Set AUTOMATCH_BACKUP__RECIPIENTS to what `automatch backup new-key backup.key` "
            "prints, then `automatch backup`.",
        )
    if settings.to is None and runs.erased_since:
        return warn(
            f"{runs.erased_since} people were erased after the backup of {made}, and its log of "
            "erasures does not know them: a restore would bring them back.",
            "`automatch backup` to the same place; with AUTOMATCH_BACKUP__TO set the log follows "
            "by itself.",
        )
    return ok(f"The last backup is of {made}, and encrypted.")


async def _place(context: CheckContext) -> Result:
    settings = context.settings.backup
    if settings.to is None:
        return skipped("AUTOMATCH_BACKUP__TO is not set.")
    key = f"doctor.{token_hex(4)}"
    try:
        place = await asyncio.to_thread(open_place, settings.to, settings)
        await place.write(key, b"doctor")
        await place.delete([key])
    except SettingsError as exc:
        return fail(exc.message, "pip install 'automatch[s3]'")
    except BackupError as exc:
        return fail(exc.message, "Mount the disk, or correct AUTOMATCH_BACKUP__TO.")
    return ok(f"Backups can be written to {place.location}.")


CHECKS = [
    Check("backup.recent", "There is a recent backup", _recent),
    Check("backup.place", "Backups can be written", _place, Requires.NOTHING),
]
