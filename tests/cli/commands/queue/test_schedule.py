"""`automatch schedule`: the cron lines that it writes, and what it shows."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from functools import partial
from pathlib import Path

import psycopg
import pytest

from automatch.cli.commands.queue.schedule import cron_line
from automatch.errors.request import InputInvalidError
from automatch.store.installation.migrate import COMPAT
from tests.support.build import connect, one
from tests.support.command import call_command
from tests.support.doctor import write_secrets
from tests.support.postgres import Database, TestCluster
from tests.support.supabase import SupabaseCluster

_PROCESS = "process-match-jobs"
Schedule = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def schedule(cluster: TestCluster, database: Database) -> Schedule:
    """Give `automatch schedule` on the test's own database."""
    return partial(call_command, cluster.settings.home, "schedule", DATABASE_URL=database.owner)


@pytest.mark.parametrize(
    ("every", "line"),
    [
        ("1s", "1 seconds"),
        ("30s", "30 seconds"),
        ("60s", "* * * * *"),
        ("1m", "* * * * *"),
        ("5m", "*/5 * * * *"),
        ("120s", "*/2 * * * *"),
        ("60m", "0 * * * *"),
        ("6h", "0 */6 * * *"),
        ("24h", "0 0 * * *"),
    ],
)
def test_interval_is_written_as_a_cron_line(every: str, line: str) -> None:
    assert cron_line(every) == line


@pytest.mark.parametrize("every", ["", "30", "0s", "90s", "7m", "5h", "25h", "1d", "*/30", "-1s"])
def test_interval_that_cron_cannot_express_is_refused(every: str) -> None:
    with pytest.raises(InputInvalidError):
        cron_line(every)


def test_schedule_is_shown_changed_and_disabled(schedule: Schedule, database: Database) -> None:
    made = schedule("--every", "30s")
    assert made.returncode == 0, made.stderr
    with connect(database.owner, autocommit=True) as conn:
        query = "select schedule, active, command from cron.job where jobname = %s"
        [(line, active, command)] = conn.execute(query, [_PROCESS]).fetchall()
        assert (line, active) == ("30 seconds", True)
        assert "http://automatch.localhost/functions/v1/match-generator" in command
        own = "select 'mine'"
        conn.execute("select cron.schedule(%s, '* * * * *', %s)", [_PROCESS, own])

        assert "\toff\t" in schedule("--off").stdout
        assert conn.execute(query, [_PROCESS]).fetchall() == []

        shown = json.loads(schedule("--every", "5m", "--json").stdout)
        assert conn.execute(query, [_PROCESS]).fetchall() == [("*/5 * * * *", True, own)]
        assert [(job["name"], job["schedule"], job["active"]) for job in shown["jobs"]] == [
            ("cleanup-match-jobs", "0 3 * * *", True),
            (_PROCESS, "*/5 * * * *", True),
        ]
        acts = conn.execute("select actor, action from automatch.audit_log order by id").fetchall()
        assert {action for _, action in acts} == {"schedule"}
        assert len(acts) == 3
        assert all(actor.startswith("cli:") for actor, _ in acts)


def test_address_that_a_server_set_stays(schedule: Schedule, database: Database) -> None:
    with connect(database.owner, autocommit=True) as conn:
        conn.execute("select automatch.ensure_match_schedule('http://127.0.0.1:8123/functions/x')")
        schedule("--every", "30s").check_returncode()

        [(line, command)] = conn.execute(
            "select schedule, command from cron.job where jobname = %s", [_PROCESS]
        ).fetchall()
    assert line == "30 seconds"
    assert "http://127.0.0.1:8123/functions/x" in command


def test_key_is_rotated(schedule: Schedule, database: Database) -> None:
    secret = "select decrypted_secret from vault.decrypted_secrets"
    assert schedule("--every", "1m").returncode == 0
    with connect(database.owner, autocommit=True) as conn:
        before = one(conn, secret)

        rotated = schedule("--rotate-key")

        after = one(conn, secret)
        assert before != after
        assert one(conn, "select public.is_trigger_key(sha256(%s))", after.encode())
        assert not one(conn, "select public.is_trigger_key(sha256(%s))", before.encode())
    assert after not in rotated.stdout + rotated.stderr


def test_pg_net_elsewhere_needs_an_address_that_it_reaches(
    schedule: Schedule, database: Database
) -> None:
    with connect(database.owner, autocommit=True) as conn:
        conn.execute("comment on schema net is null")

        refused = schedule("--every", "1m")
        assert refused.returncode == 1
        assert "AUTOMATCH_PUBLIC_URL" in refused.stderr

        assert schedule("--every", "1m", PUBLIC_URL="https://m.example.org").returncode == 0
        command = one(conn, "select command from cron.job where jobname = %s", _PROCESS)
        assert "'https://m.example.org/functions/v1/match-generator'" in command


def test_owner_without_rights_is_told_and_one_with_those_of_pg_cron_can_schedule(
    supabase_cluster: SupabaseCluster, migrated_project: Database, tmp_path: Path
) -> None:
    write_secrets(tmp_path / "home", supabase_cluster.secrets)
    call = partial(
        call_command,
        tmp_path / "home",
        DATABASE_URL=migrated_project.owner,
        PUBLIC_URL="https://m.example.org",
    )
    with psycopg.connect(supabase_cluster.as_admin(migrated_project), autocommit=True) as admin:
        admin.execute((COMPAT / "30_cron.sql").read_bytes())
        admin.execute("create schema net")
        admin.execute("comment on schema cron is null")
        assert call("stats").returncode == 0
        refused = call("schedule")
        assert refused.returncode == 1
        assert "grant usage on schema cron to" in refused.stderr

        admin.execute("grant usage on schema cron to postgres")
        admin.execute("grant all on all tables in schema cron to postgres")
        admin.execute("grant execute on all functions in schema cron to postgres")
        # As pg_cron has it.
        admin.execute(
            "revoke execute on function cron.alter_job(bigint, text, text, text, text, boolean)"
            " from postgres"
        )
        for arguments, state in (
            (("--every", "30s"), ("30 seconds", True)),
            (("--off",), ("30 seconds", False)),
            (("--every", "5m"), ("*/5 * * * *", True)),
        ):
            done = call("schedule", *arguments, "--json")
            assert done.returncode == 0, done.stderr
            jobs = {job["name"]: job for job in json.loads(done.stdout)["jobs"]}
            assert (jobs[_PROCESS]["schedule"], jobs[_PROCESS]["active"]) == state
            assert jobs["cleanup-match-jobs"]["active"]
        assert call("stats").returncode == 0


def test_pg_cron_that_knows_no_seconds_is_said_and_gets_both_jobs(
    schedule: Schedule, database: Database
) -> None:
    with connect(database.owner, autocommit=True) as conn:
        schedule("--every", "30s").check_returncode()
        conn.execute(
            "create or replace function cron.is_schedule(p_schedule text) returns boolean"
            " return p_schedule !~ 'seconds'"
        )
        refused = schedule("--every", "10s")
        assert refused.returncode == 1
        assert "seconds need version 1.5" in refused.stderr

        # As when the extension has taken the place of its stand-in.
        conn.execute("update automatch.kept_cron_jobs set seen_in = null")
        conn.execute("delete from cron.job")
        assert one(conn, "select automatch.ensure_match_schedule('http://127.0.0.1:9')") == "made"
        assert one(conn, "select array_agg(schedule order by jobid) from cron.job") == [
            "0 3 * * *",
            "* * * * *",
        ]


def test_contradiction_is_refused(schedule: Schedule) -> None:
    refused = schedule("--every", "1m", "--off")

    assert refused.returncode == 1
    assert "not both" in refused.stderr


def test_line_that_pg_cron_misreads_is_named(schedule: Schedule, database: Database) -> None:
    with connect(database.owner, autocommit=True) as conn:
        conn.execute("select cron.schedule(%s, '*/30 * * * * *', 'select 1')", [_PROCESS])

    # By what stands in for pg_cron it is read as it is meant.
    assert "ignores" not in schedule().stdout


def test_job_is_changed_switched_and_run_by_its_name(
    schedule: Schedule, database: Database
) -> None:
    with connect(database.owner, autocommit=True) as conn:
        conn.execute("select cron.schedule('mine', '0 3 * * *', 'select 1')")

        told = schedule("set", "mine", "0 4 * * *").stdout
        ran = schedule("run", "mine").stdout
        shown = json.loads(schedule("history", "mine", "--json").stdout)
        schedule("off", "mine").check_returncode()
        jobs = one(conn, "select count(*) from cron.job where jobname = 'mine'")
        schedule("on", "mine").check_returncode()

        assert "mine runs next at" in told
        assert told.count("04:00:00") == 3
        assert ran == "succeeded: 1 row\n"
        assert [run["status"] for run in shown] == ["succeeded"]
        assert jobs == 0
        assert one(conn, "select schedule from cron.job where jobname = 'mine'") == "0 4 * * *"
    assert "no job of this name" in schedule("on", "nobody").stderr
