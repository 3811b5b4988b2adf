"""`automatch stats`, `logs` and `tune --threshold`: the guide's monitoring and tuning."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any
from uuid import UUID

import psycopg
import pytest

from tests.support.build import a_face, a_job, a_profile, claim, complete, connect, fail, one, unit
from tests.support.command import call_command, environment
from tests.support.doctor import CRON_AND_NET
from tests.support.forks import ForkedProcess
from tests.support.postgres import Database, TestCluster

Command = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def env(cluster: TestCluster, database: Database) -> dict[str, str]:
    return environment(cluster.settings.home) | {"AUTOMATCH_DATABASE_URL": database.owner}


@pytest.fixture
def command(cluster: TestCluster, database: Database) -> Command:
    """Give `automatch` on the test's own database."""
    return partial(call_command, cluster.settings.home, DATABASE_URL=database.owner)


@contextmanager
def _running(env: dict[str, str], *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """Run a command that only ends with Ctrl-C."""
    process = ForkedProcess(
        [sys.executable, "-m", "automatch", *arguments],
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
        assert process.returncode == 0, errors
        assert errors == ""
    finally:
        process.kill()
        process.communicate(timeout=60)


def _line(process: subprocess.Popen[str]) -> Any:
    assert process.stdout is not None
    return json.loads(process.stdout.readline())


def _completed(conn: psycopg.Connection, *, took_s: float = 2) -> UUID:
    a_job(conn, a_face(conn, a_profile(conn, name="Nguyen", school="Secret School"), unit(1)))
    job, token = claim(conn)
    complete(conn, job, token)
    conn.execute(
        "update match_jobs set created_at = completed_at - make_interval(secs => %s) where id = %s",
        [took_s, job],
    )
    return job


def _failed(conn: psycopg.Connection, code: str) -> UUID:
    a_job(conn, a_face(conn, a_profile(conn)))
    job, token = claim(conn)
    assert fail(conn, job, token, code)
    return job


def _schedule(conn: psycopg.Connection) -> None:
    conn.execute(CRON_AND_NET)
    conn.execute("select cron.schedule('process-match-jobs', '* * * * *', 'select sesame')")
    conn.execute(
        "insert into cron.job_run_details (jobid, status, return_message, start_time, end_time)"
        " select jobid, 'failed', 'bad header Bearer sesame', now(), now() from cron.job"
    )
    conn.execute("insert into net._http_response (id, status_code) values (7, 200), (8, 401)")


def test_stats_have_the_results_of_the_monitoring_queries_of_the_guide(
    command: Command, database: Database
) -> None:
    with connect(database.owner) as conn:
        for took_s in (1, 2, 9):
            _completed(conn, took_s=took_s)
        newest = _failed(conn, "no_face")
        _schedule(conn)
        conn.execute(
            "insert into cron.job_run_details (jobid, status, start_time)"
            " select jobid, 'succeeded', now() - n * interval '1 hour'"
            " from cron.job, generate_series(1, 2) as n"
        )
        conn.execute(
            "insert into automatch.worker_faults (worker_id, message)"
            " select gen_random_uuid(), 'function f() is missing' from generate_series(1, 2)"
        )

    done = command("stats", "--json", "--recent", "2")
    shown = command("stats")

    assert done.returncode == 0, done.stderr
    loaded = json.loads(done.stdout)
    assert {row["status"]: row["count"] for row in loaded["statuses"]} == {
        "completed": 3,
        "failed": 1,
    }
    assert loaded["times"] == {
        "jobs": 3,
        "average_s": 4.0,
        "p50_s": 2.0,
        "p95_s": pytest.approx(8.3),
        "p99_s": pytest.approx(8.86),
    }
    assert loaded["rate"]["ended_minute"] == 4
    assert [job["id"] for job in loaded["recent"]][:1] == [str(newest)]
    assert len(loaded["recent"]) == 2
    assert [(row["code"], row["jobs"]) for row in loaded["failed"]] == [("no_face", 1)]
    assert loaded["workers"] == 0
    assert [(row["message"], row["workers"]) for row in loaded["faults"]] == [
        ("function f() is missing", 2)
    ]
    assert "function f() is missing" in shown.stdout
    assert [row["name"] for row in loaded["schedule"]] == ["process-match-jobs"]
    assert [(run["status"], run["message"]) for run in loaded["runs"]] == [
        ("failed", "bad header (a key)"),
        ("succeeded", ""),
    ]
    for text in (done.stdout, shown.stdout):
        assert "sesame" not in text
        assert "Secret School" not in text
    assert "no_face" in shown.stdout
    assert "1.00 / " not in shown.stdout
    assert "2.00 / 8.30 / 8.86" in shown.stdout


def test_stats_of_an_empty_installation(command: Command, database: Database) -> None:
    with connect(database.owner) as conn:
        conn.execute("drop schema if exists cron cascade")
    loaded = json.loads(command("stats", "--json").stdout)

    assert loaded["times"]["average_s"] is None
    assert loaded["rate"]["queued_day"] == 0
    assert loaded["schedule"] is None
    assert loaded["replica"] is None


def test_stats_tell_of_a_replica_that_the_primary_answers_for(
    command: Command, database: Database
) -> None:
    # No replica at all, and what a replica is behind is told by `look_at_replica`.
    with_replica = partial(command, "stats", REPLICA_URL=database.api)

    assert json.loads(with_replica("--json").stdout)["replica"] == {"lag_s": None}
    assert "away, the primary answers" in with_replica().stdout


def test_stats_are_watched_until_ctrl_c(env: dict[str, str], database: Database) -> None:
    with _running(env, "stats", "--watch", "--every", "0.2", "--json") as watching:
        before = _line(watching)
        with connect(database.owner) as conn:
            _completed(conn)
        # Each part is read by itself, and the job may end between two of them.
        while not ((after := _line(watching))["rate"]["ended_minute"] and after["times"]["jobs"]):
            pass

    assert (before["rate"]["ended_minute"], before["times"]["jobs"]) == (0, 0)
    assert (after["rate"]["ended_minute"], after["times"]["jobs"]) == (1, 1)


def test_logs_list_jobs_calls_and_runs_in_order(command: Command, database: Database) -> None:
    with connect(database.owner) as conn:
        done = _completed(conn)
        failed = _failed(conn, "job_crashed")
        conn.commit()
        _schedule(conn)

    loaded = [
        json.loads(line)
        for line in command("logs", "match-generator", "--json").stdout.splitlines()
    ]
    shown = command("logs", "match-generator", "--limit", "100").stdout
    last = command("logs", "--limit", "1", "--json").stdout.splitlines()

    assert [entry["at"] for entry in loaded] == sorted(entry["at"] for entry in loaded)
    by_event = {(entry["source"], entry["event"]): entry for entry in loaded}
    assert by_event["worker", "job completed"]["id"] == str(done)
    assert by_event["worker", "job completed"]["matches"] == 0
    assert by_event["worker", "job failed"]["id"] == str(failed)
    assert by_event["worker", "job failed"]["code"] == "job_crashed"
    assert by_event["function", "call answered"]["status"] == 200
    assert by_event["function", "call failed"]["status"] == 401
    assert by_event["schedule", "run failed"]["message"] == "bad header (a key)"
    assert len(loaded) == 5
    assert len(last) == 1
    for text in (shown, json.dumps(loaded)):
        assert not {"sesame", "Nguyen", "Secret School"} & set(text.split())
    assert f"worker   job completed  {done} attempt=1" in shown


def test_tail_follows_new_entries(env: dict[str, str], database: Database) -> None:
    with connect(database.owner) as conn:
        first = _completed(conn)
        conn.commit()
        with _running(env, "logs", "match-generator", "--tail", "--json") as following:
            assert _line(following)["id"] == str(first)
            second = _completed(conn)
            conn.commit()
            third = _failed(conn, "no_face")
            conn.commit()
            assert [_line(following)["id"] for _ in range(2)] == [str(second), str(third)]


def test_unknown_function_is_refused(command: Command) -> None:
    assert command("logs", "match-maker").returncode == 2


def test_tune_threshold_is_the_threshold_command(command: Command, database: Database) -> None:
    preview = command("tune", "--threshold", "0.4", "--preview")
    unchanged = command("threshold", "--json")
    done = command("tune", "--threshold", "0.4")
    refused = command("tune", "--threshold", "0.4", "--build")
    alone = command("tune", "--rerun")

    assert preview.returncode == done.returncode == 0, preview.stderr + done.stderr
    assert json.loads(unchanged.stdout)["threshold"] == 0.5
    assert "of at least 0.4. It was 0.5 before." in done.stdout
    with connect(database.owner) as conn:
        assert one(conn, "select threshold from match_settings") == 0.4
        assert one(conn, "select action from automatch.audit_log") == "threshold"
    assert refused.returncode == alone.returncode == 1
    assert "--threshold" in alone.stderr
