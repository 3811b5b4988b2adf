"""Which job is due, judged without a clock."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from automatch.supabase_compat.cron import CronTable
from automatch.supabase_compat.cron_job import Job

_NOON = datetime(2026, 11, 25, 12, 0, 0, 400_000, tzinfo=UTC)


def job(schedule: str = "* * * * *", jobid: int = 1) -> Job:
    return Job(jobid, schedule, "select 1", "postgres", is_ours=True)


def at(**later: float) -> datetime:
    return _NOON + timedelta(**later)


def cron_table(*jobs: Job) -> CronTable:
    table = CronTable()
    table.update(jobs, _NOON)
    return table


def test_job_is_due_at_its_minute_and_once() -> None:
    table, every = cron_table(job()), job()

    assert table.start_due(at(seconds=59)) == []
    assert table.start_due(at(seconds=60)) == [every]
    table.finish(every)
    assert table.start_due(at(seconds=61)) == []
    assert table.seconds_to_next(at(seconds=61)) == 58.6


def test_job_that_runs_comes_due_once_more_however_often_it_was_missed() -> None:
    table, every = cron_table(job()), job()
    assert table.start_due(at(minutes=1)) == [every]

    for minute in (2, 3, 4):
        assert table.start_due(at(minutes=minute)) == []
    table.finish(every)

    assert table.start_due(at(minutes=4, seconds=5)) == [every]
    table.finish(every)
    assert table.start_due(at(minutes=4, seconds=6)) == []


def test_minutes_while_nobody_looked_are_not_made_up_for() -> None:
    table = cron_table(job("0 13 * * *"), job("* * * * *", 2))

    # The machine slept for two hours.
    assert table.start_due(at(hours=2, seconds=30)) == []
    assert table.start_due(at(hours=2, seconds=60)) == [job("* * * * *", 2)]


def test_job_is_not_lost_by_a_look_that_comes_late() -> None:
    assert cron_table(job("0 13 * * *")).start_due(at(hours=1, seconds=40)) == [job("0 13 * * *")]


def test_change_of_another_job_moves_no_time() -> None:
    table = cron_table(job("30 seconds"))

    table.update([job("30 seconds"), job("@daily", 2)], at(seconds=29))

    assert table.start_due(at(seconds=30)) == [job("30 seconds")]


def test_changed_schedule_counts_from_its_change() -> None:
    table = cron_table(job("30 seconds"))

    table.update([job("20 seconds")], at(seconds=29))

    assert table.start_due(at(seconds=31)) == []
    assert table.start_due(at(seconds=49)) == [job("20 seconds")]


def test_seconds_are_counted_from_the_start_before() -> None:
    table, often = cron_table(job("10 seconds")), job("10 seconds")

    assert table.start_due(at(seconds=12)) == [often]
    table.finish(often)

    assert table.start_due(at(seconds=21)) == []
    assert table.start_due(at(seconds=22)) == [often]


def test_job_that_is_gone_is_never_due() -> None:
    table = cron_table(job())

    table.update([], at(seconds=30))

    assert table.start_due(at(minutes=1)) == []
    assert table.seconds_to_next(at(minutes=1)) is None
