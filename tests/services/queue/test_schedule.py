"""What operators do with the schedule beyond the database."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from automatch.errors.request import InputInvalidError, NotFoundError
from automatch.model.operators import Operator
from automatch.services.queue import schedule
from tests.support.build import one
from tests.support.operators import Desk

pytestmark = pytest.mark.anyio

ROOT = Operator.of_machine("cli:linh")
NOON = datetime(2026, 11, 29, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "times"),
    [
        ("30 seconds", ["11-29T12:00:30", "11-29T12:01:00", "11-29T12:01:30"]),
        ("*/5 * * * *", ["11-29T12:05:00", "11-29T12:10:00", "11-29T12:15:00"]),
        ("@daily", ["11-30T00:00:00", "12-01T00:00:00", "12-02T00:00:00"]),
    ],
)
def test_next_three_times_are_told(text: str, times: list[str]) -> None:
    found = schedule.next_times(text, NOON)

    assert [at.strftime("%m-%dT%H:%M:%S") for at in found] == times


@pytest.mark.parametrize(
    "text", ["", "soon", "* * * *", "61 * * * *", "0 0 30 2 *", "*/30 * * * * *", "90 seconds"]
)
def test_what_never_comes_is_no_schedule(text: str) -> None:
    with pytest.raises(InputInvalidError):
        schedule.next_times(text, NOON)


async def test_job_runs_now_with_the_login_of_the_schedule(desk: Desk) -> None:
    desk.conn.execute("select cron.schedule('mine', '0 0 1 1 *', 'select f from current_user f')")
    await schedule.run_now(desk.db, ROOT, "mine", desk.schedule_dsn)

    [run] = (await schedule.load_history(desk.db, ROOT, "mine")).runs
    assert (run.status, run.message) == ("succeeded", "1 row")
    desk.conn.execute("select cron.schedule('mine', '0 0 1 1 *', 'select f from auth.users f')")
    await schedule.run_now(desk.db, ROOT, "mine", desk.schedule_dsn)
    [run, _] = (await schedule.load_history(desk.db, ROOT, "mine")).runs
    assert run.status == "failed"
    assert "permission denied" in (run.message or "")


async def test_job_that_runs_or_is_off_is_not_started(desk: Desk) -> None:
    name = desk.scheduled()
    job = one(desk.conn, "select jobid from cron.job where jobname = %s", name)
    lock = "pg_advisory_lock(hashtextextended('automatch cron job ' || %s, 0))"
    desk.conn.execute(f"select {lock}", [str(job)])

    with pytest.raises(InputInvalidError, match="runs already"):
        await schedule.run_now(desk.db, ROOT, name, desk.schedule_dsn)
    await schedule.change_schedule(desk.db, ROOT, name, active=False)
    with pytest.raises(InputInvalidError, match="off"):
        await schedule.run_now(desk.db, ROOT, name, desk.schedule_dsn)
    with pytest.raises(NotFoundError):
        await schedule.run_now(desk.db, ROOT, "nobody", desk.schedule_dsn)


async def test_jobs_of_pg_cron_are_left_to_it(desk: Desk) -> None:
    name = desk.scheduled()
    desk.conn.execute("comment on schema cron is null")
    try:
        with pytest.raises(InputInvalidError, match="pg_cron"):
            await schedule.run_now(desk.db, ROOT, name, desk.schedule_dsn)
    finally:
        desk.conn.execute("comment on schema cron is 'Auto-Match stands in for pg_cron.'")


async def test_change_and_its_times_are_in_the_audit_log(desk: Desk) -> None:
    await schedule.change_schedule(desk.db, ROOT, desk.scheduled(), schedule="5  4 * * *")

    details = one(desk.conn, "select details from automatch.audit_log")
    assert details == {"job": "mine", "schedule": "5 4 * * *"}


async def test_message_of_a_run_shows_no_key(desk: Desk) -> None:
    desk.conn.execute("select cron.schedule('mine', '* * * * *', 'select 1')")
    desk.conn.execute(
        "insert into cron.job_run_details (jobid, username, status, return_message, start_time)"
        " select jobid, username, 'failed', 'ERROR: near amt_0123456789abcdef', now()"
        " from cron.job where jobname = 'mine'"
    )

    [entry] = [e for e in await schedule.list_schedule(desk.db, ROOT) if e.name == "mine"]
    assert entry.last_message == "ERROR: near (a key)"
