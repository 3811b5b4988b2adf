"""Which job is due, judged without a clock."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from automatch.supabase_compat.cron import CronTable
from automatch.supabase_compat.cron_job import Job

_NOON = datetime(2026, 11, 25, 12, 0, 0, 400_000, tzinfo=UTC)


def job(schedule: str = "* * * * *", jobid: int = 1) -> Job:
    return Job(jobid, schedule, "select 1", "postgres", is_owners=True)


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


def test_running_job_is_due_once_more_however_often_it_was_missed() -> None:
    table, every = cron_table(job()), job()
    assert table.start_due(at(minutes=1)) == [every]

    for minute in (2, 3, 4):
        assert table.start_due(at(minutes=minute)) == []
    table.finish(every)

    assert table.start_due(at(minutes=4, seconds=5)) == [every]
    table.finish(every)
    assert table.start_due(at(minutes=4, seconds=6)) == []


def test_times_that_passed_while_nothing_ran_are_not_caught_up() -> None:
    table = cron_table(job("0 13 * * *"), job("* * * * *", 2))

    # The machine slept for two hours.
    assert table.start_due(at(hours=2, seconds=30)) == []
    assert table.start_due(at(hours=2, seconds=60)) == [job("* * * * *", 2)]


def test_job_still_runs_when_the_check_is_a_little_late() -> None:
    assert cron_table(job("0 13 * * *")).start_due(at(hours=1, seconds=40)) == [job("0 13 * * *")]


def test_changing_one_job_does_not_move_the_times_of_others() -> None:
    table = cron_table(job("30 seconds"))

    table.update([job("30 seconds"), job("@daily", 2)], at(seconds=29))

    assert table.start_due(at(seconds=30)) == [job("30 seconds")]


def test_changed_schedule_starts_at_its_change() -> None:
    table = cron_table(job("30 seconds"))

    table.update([job("20 seconds")], at(seconds=29))

    assert table.start_due(at(seconds=31)) == []
    assert table.start_due(at(seconds=49)) == [job("20 seconds")]


def test_clock_that_is_set_back_moves_the_next_times_along() -> None:
    table = cron_table(job("0 13 * * *"), job("30 seconds", 2))

    table.update([job("0 13 * * *"), job("30 seconds", 2)], at(hours=-8))

    assert table.start_due(at(hours=-8, seconds=30)) == [job("30 seconds", 2)]


def test_clock_that_is_adjusted_by_seconds_runs_nothing_twice() -> None:
    table, hourly = cron_table(job("0 * * * *")), job("0 * * * *")
    table.update([hourly], at(hours=1))
    assert table.start_due(at(hours=1)) == [hourly]
    table.finish(hourly)

    table.update([hourly], at(minutes=59, seconds=58))

    assert table.start_due(at(hours=1)) == []


def test_interval_starts_at_the_last_start() -> None:
    table, often = cron_table(job("10 seconds")), job("10 seconds")

    assert table.start_due(at(seconds=12)) == [often]
    table.finish(often)

    assert table.start_due(at(seconds=21)) == []
    assert table.start_due(at(seconds=22)) == [often]


def test_deleted_job_is_never_due() -> None:
    table = cron_table(job())

    table.update([], at(seconds=30))

    assert table.start_due(at(minutes=1)) == []
    assert table.seconds_to_next(at(minutes=1)) is None
