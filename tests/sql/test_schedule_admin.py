"""What operators see and change of the schedule without being the owner."""

from __future__ import annotations

import psycopg
import pytest

from tests.support.build import one, refused

_URL = "http://127.0.0.1:8000/functions/v1/match-generator"


@pytest.fixture(autouse=True)
def schedule(conn: psycopg.Connection) -> None:
    conn.execute("select automatch.ensure_match_schedule(%s)", [_URL])


def shown(conn: psycopg.Connection) -> dict[str, tuple[str, bool]]:
    rows = conn.execute("select name, schedule, active from public.list_cron_jobs()").fetchall()
    return {name: (schedule, active) for name, schedule, active in rows}


def change(conn: psycopg.Connection, *arguments: object) -> None:
    conn.execute("select public.change_cron_job(%s, %s, %s)", arguments)


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        ("select public.cleanup_old_match_jobs()", "select public.cleanup_old_match_jobs()"),
        ("select\n  1 - 2 / 3", "select 1 - 2 / 3"),
        ("select f('a secret')", "select f( …"),
        ("select f($$a secret$$)", "select f( …"),
        ("select 1 -- a secret", "select 1 …"),
        ("/* a secret */ select 1", " …"),
        ('select f(U&"a secret")', "select f(U& …"),
    ],
)
def test_command_is_shown_up_to_what_may_be_a_key(
    conn: psycopg.Connection, command: str, expected: str
) -> None:
    conn.execute("select cron.schedule('mine', '* * * * *', %s)", [command])

    assert one(conn, "select command from public.list_cron_jobs() where name = 'mine'") == expected


def test_times_of_a_job_change_and_its_command_stays(conn: psycopg.Connection) -> None:
    query = "select command from cron.job where jobname = 'process-match-jobs'"
    before = one(conn, query)
    change(conn, "process-match-jobs", "30 seconds", None)

    assert shown(conn)["process-match-jobs"] == ("30 seconds", True)
    assert one(conn, query) == before


@pytest.mark.parametrize("name", ["cleanup-match-jobs", "mine"])
def test_job_is_off_and_comes_back_as_it_was(conn: psycopg.Connection, name: str) -> None:
    conn.execute("select cron.schedule('mine', '5 4 * * *', 'select 5')")
    before, kept = shown(conn)[name], "select count(*) from automatch.kept_cron_jobs"

    change(conn, name, None, False)
    change(conn, name, "6 4 * * *", None)
    assert shown(conn)[name] == ("6 4 * * *", False)
    assert one(conn, "select count(*) from cron.job where jobname = %s", name) == 0
    # A server that takes over keeps it off.
    conn.execute("select automatch.ensure_match_schedule(%s)", [_URL])
    assert shown(conn)[name] == ("6 4 * * *", False)
    change(conn, name, before[0], True)

    assert shown(conn)[name] == before
    assert one(conn, kept) == 2


def test_job_that_its_owner_paused_by_hand_can_be_switched_on(conn: psycopg.Connection) -> None:
    conn.execute("select cron.alter_job(jobid, active => false) from cron.job")
    change(conn, "process-match-jobs", None, True)

    assert shown(conn)["process-match-jobs"] == ("* * * * *", True)


def test_unknown_job_and_invalid_times_are_refused(conn: psycopg.Connection) -> None:
    with refused("not_found"), conn.transaction():
        change(conn, "nobody", "* * * * *", True)
    with pytest.raises(psycopg.errors.InvalidParameterValue), conn.transaction():
        change(conn, "process-match-jobs", "61 * * * *", None)

    assert shown(conn)["process-match-jobs"] == ("* * * * *", True)


def test_jobs_of_other_logins_are_neither_shown_nor_changed(conn: psycopg.Connection) -> None:
    conn.execute("select cron.schedule('theirs', '* * * * *', 'select 1')")
    conn.execute("update cron.job set username = 'somebody' where jobname = 'theirs'")

    assert "theirs" not in shown(conn)
    with refused("not_found"):
        change(conn, "theirs", None, False)


def test_runs_are_listed_newest_first_with_one_line_each(conn: psycopg.Connection) -> None:
    conn.execute(
        "insert into cron.job_run_details"
        " (jobid, username, command, status, return_message, start_time, end_time)"
        " select j.jobid, j.username, j.command, run.status, run.message, now(), now() + '2 s'"
        " from cron.job as j,"
        " (values (1, 'succeeded', '1 row'), (2, 'failed', E'ERROR: no\\nLINE'))"
        " as run (number, status, message) where j.jobname = 'cleanup-match-jobs' order by number"
    )
    runs = conn.execute(
        "select took_s, status, message from public.list_cron_runs('cleanup-match-jobs')"
    ).fetchall()

    assert runs == [(2, "failed", "ERROR: no"), (2, "succeeded", "1 row")]
    assert (
        one(
            conn,
            "select last_message from public.list_cron_jobs() where name = 'cleanup-match-jobs'",
        )
        == "ERROR: no"
    )
