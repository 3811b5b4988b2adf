"""Which backups are kept, and that photos go with the last one that has them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from automatch.ops.backup.place import backup_name
from automatch.ops.backup.retention import choose_kept, prune
from tests.ops.backup.conftest import Installation

pytestmark = pytest.mark.anyio

# A Wednesday.
NOW = datetime(2026, 12, 2, 3, tzinfo=UTC)


def test_newest_of_each_day_and_week_is_kept() -> None:
    # Twice a day for 60 days.
    names = [backup_name(NOW - timedelta(hours=12 * count)) for count in range(120)]

    kept = sorted(choose_kept(names, daily=7, weekly=4), reverse=True)

    days = [0, *(0.5 + day for day in range(6))]
    sundays = [2.5, 9.5, 16.5]
    assert kept == [backup_name(NOW - timedelta(days=day)) for day in sorted({*days, *sundays})]


def test_the_only_backup_is_kept_however_old() -> None:
    name = backup_name(NOW - timedelta(days=1000))

    assert choose_kept([name], daily=1, weekly=0) == {name}


async def test_photos_go_with_the_last_backup_that_has_them(installation: Installation) -> None:
    stays = await installation.add_photo(1)
    goes = await installation.add_photo(2)
    first = await installation.back_up()
    installation.ask("delete from faces where image_path = %s returning id", goes)
    second = await installation.back_up()

    removed = await prune(installation.place, daily=1, weekly=0)

    assert removed == [first.name]
    assert await installation.place.list_backups() == [second.name]
    left = {path.name for path in installation.folder.glob("photos/*/*/*")}
    assert left == {f"{stays[3:]}.jpg.age", f"{stays[3:]}.thumb.jpg.age"}
