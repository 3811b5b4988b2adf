"""When a schedule runs: what pg_cron's documentation and its source say of each form."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from automatch.supabase_compat.cron_expression import parse_schedule

_NOW = datetime(2026, 2, 27, 14, 7, 12, 345678, tzinfo=UTC)
"""A Friday."""


@pytest.mark.parametrize(
    ("schedule", "due"),
    [
        ("* * * * *", ["02-27 14:08:00", "02-27 14:09:00"]),
        ("*/15 * * * *", ["02-27 14:15:00", "02-27 14:30:00"]),
        ("0 3 * * *", ["02-28 03:00:00", "03-01 03:00:00"]),
        ("5,10-12,50-58/4 14 * * *", ["02-27 14:10:00", "02-27 14:11:00", "02-27 14:12:00"]),
        ("0 0 $ * *", ["02-28 00:00:00", "03-31 00:00:00", "04-30 00:00:00"]),
        ("30 12 1 jan,APR *", ["04-01 12:30:00"]),
        ("0 9 * * mon-fri", ["03-02 09:00:00", "03-03 09:00:00"]),
        ("0 9 * * 7", ["03-01 09:00:00", "03-08 09:00:00"]),
        # With both days named either will do; with a star in one, both must.
        ("0 9 13 * mon", ["03-02 09:00:00", "03-09 09:00:00", "03-13 09:00:00"]),
        ("0 9 */2 * mon", ["03-09 09:00:00", "03-23 09:00:00"]),
        ("@hourly", ["02-27 15:00:00"]),
        ("@midnight", ["02-28 00:00:00"]),
        ("@weekly", ["03-01 00:00:00"]),
        ("@monthly", ["03-01 00:00:00", "04-01 00:00:00"]),
        # The guide's, with the meaning that the guide gives it.
        ("*/30 * * * * *", ["02-27 14:07:30", "02-27 14:08:00", "02-27 14:08:30"]),
        (" \t*  *\t* * * ", ["02-27 14:08:00"]),
    ],
)
def test_schedule_is_due(schedule: str, due: list[str]) -> None:
    parsed, moment, seen = parse_schedule(schedule), _NOW, []
    for _ in due:
        moment = parsed.next_after(moment)
        assert moment is not None
        seen.append(moment.strftime("%m-%d %H:%M:%S"))

    assert seen == due


@pytest.mark.parametrize("schedule", ["30 seconds", "30 second", "30SECONDS", "  30  Seconds "])
def test_seconds_start_at_the_last_start(schedule: str) -> None:
    due = parse_schedule(schedule).next_after(_NOW)

    assert due is not None
    assert (due - _NOW).total_seconds() == 30


def test_day_that_never_comes_is_never_due() -> None:
    assert parse_schedule("0 0 30 2 *").next_after(_NOW) is None
