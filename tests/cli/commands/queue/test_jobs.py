"""`automatch jobs`: on a server that runs, and on its own."""

from __future__ import annotations

import getpass
import json
import subprocess
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest
from typer.testing import CliRunner

from automatch.cli.commands.queue.jobs import app
from tests.support import build
from tests.support.build import a_face, a_job, a_profile, claim, complete, connect, one
from tests.support.command import call_command
from tests.support.homes import StoredHome
from tests.support.postgres import Database, TestCluster

_NO_JOB = str(UUID(int=0))
Jobs = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def jobs(cluster: TestCluster, database: Database) -> Jobs:
    """Give `automatch jobs` on the test's own database."""
    return partial(call_command, cluster.settings.home, "jobs", DATABASE_URL=database.owner)


def _json(done: subprocess.CompletedProcess[str]) -> Any:
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return json.loads(done.stdout)


def _failed(conn: psycopg.Connection, code: str) -> UUID:
    job = a_job(conn, a_face(conn, a_profile(conn)))
    _, token = claim(conn)
    assert build.fail(conn, job, token, code)
    return job


def test_jobs_are_listed_and_shown(jobs: Jobs, database: Database) -> None:
    with connect(database.owner) as conn:
        failed = _failed(conn, "no_face")
        waiting = a_job(conn, a_face(conn, a_profile(conn, school="[bold]HUST\x1b[2J")))

    listed = jobs("list")
    shown = jobs("show", failed)
    by_code = _json(jobs("list", "--code", "no_face", "--limit", "5", "--json"))
    by_status = _json(jobs("list", "--status", "pending", "--json"))
    one_job = _json(jobs("show", failed, "--json"))

    assert listed.returncode == shown.returncode == 0
    for job in (failed, waiting):
        assert str(job) in listed.stdout
    assert "[bold]HUST?[2J" in listed.stdout
    assert "no_face: Why." in shown.stdout
    assert [job["id"] for job in by_code["jobs"]] == [str(failed)]
    assert [job["id"] for job in by_status["jobs"]] == [str(waiting)]
    assert one_job["job"] == by_code["jobs"][0]
    assert one_job["job"]["error"] == {"code": "no_face", "message": "Why."}


def test_queue_is_paused_and_resumed_and_the_audit_log_says_by_whom(
    cluster: TestCluster, jobs: Jobs, database: Database
) -> None:
    def audit(*arguments: str) -> subprocess.CompletedProcess[str]:
        return call_command(
            cluster.settings.home, "audit", "list", *arguments, DATABASE_URL=database.owner
        )

    with connect(database.owner) as conn:
        a_job(conn, a_face(conn, a_profile(conn)))

    assert _json(jobs("pause", "--school", "UIT", "--json")) == {"waiting": 1}
    assert jobs("pause").stdout == "The queue is paused; jobs waiting: 1.\n"
    assert jobs("resume", "--school", "UIT").stdout == "UIT is running again; jobs waiting: 1.\n"
    entries = _json(audit("--json"))["entries"]
    table = audit("--act", "resume")

    assert [entry["action"] for entry in entries] == ["resume", "pause", "pause"]
    assert {entry["actor"] for entry in entries} == {f"cli:{getpass.getuser()}"}
    assert "resume" in table.stdout
    assert "pause" not in table.stdout


def test_concurrency_is_limited_and_the_queue_is_summarized(jobs: Jobs, database: Database) -> None:
    with connect(database.owner) as conn:
        a_job(conn, a_face(conn, a_profile(conn)))
        conn.execute("select public.pause_match_jobs('UIT')")

    assert _json(jobs("concurrency", "4", "--json")) == {"jobs": 4}
    stats = _json(jobs("stats", "--json"))
    summary = jobs("stats")
    undone = jobs("concurrency", "none")

    assert stats["queue"]["paused_schools"] == ["UIT"]
    assert (stats["queue"]["concurrency"], stats["queue"]["scheduled"]) == (4, 1)
    assert stats["statuses"][0]["count"] == 1
    assert "UIT" in summary.stdout
    assert undone.stdout == "Each worker runs as many jobs as its settings say.\n"


def test_failed_jobs_are_retried_and_waiting_jobs_cancelled(jobs: Jobs, database: Database) -> None:
    with connect(database.owner) as conn:
        crashed, faceless = _failed(conn, "job_crashed"), _failed(conn, "no_face")

    assert jobs("retry", "--code", "job_crashed").stdout == "Failed jobs queued again: 1.\n"
    assert _json(jobs("retry", faceless, "--json")) == {"count": 1}
    assert jobs("cancel", crashed, faceless, uuid4()).stdout == "Jobs cancelled: 2 of 3.\n"
    assert _json(jobs("retry", "--all", "--json")) == {"count": 2}
    assert _json(jobs("prioritize", crashed, "--priority", "3", "--json")) == {"count": 1}
    with connect(database.owner) as conn:
        assert one(conn, "select priority from match_jobs where id = %s", crashed) == 3


def test_requeued_job_searches_with_another_threshold(jobs: Jobs, database: Database) -> None:
    with connect(database.owner) as conn:
        (_, face), _ = build.a_pair(conn, similarity=0.45)
        job = a_job(conn, face)
        assert complete(conn, *claim(conn)) == 0

    requeued = jobs("requeue", job, "--threshold", "0.4")

    with connect(database.owner) as conn:
        new, token = claim(conn)
        assert complete(conn, new, token) == 1
    assert requeued.stdout == f"Job {new} will search again.\n"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["show", _NO_JOB], "no job with this id"),
        (["requeue", _NO_JOB], "nothing here"),
        (["pause", "--school", "Nowhere"], "There is no such school"),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_error_is_one_line_and_exit_code_1(jobs: Jobs, arguments: list[str], words: str) -> None:
    refused = jobs(*arguments)

    assert refused.returncode == 1
    assert refused.stdout == ""
    assert words in refused.stderr
    assert refused.stderr.count("\n") == 1


@pytest.mark.parametrize(
    "arguments",
    [
        ["show", "1"],
        ["retry"],
        ["retry", "--all", "--code", "no_face"],
        ["cancel"],
        ["concurrency", "0"],
        ["concurrency", "many"],
        ["list", "--status", "done"],
        ["list", "--limit", "0"],
        ["requeue", _NO_JOB, "--threshold", "1.5"],
        ["prioritize", _NO_JOB, "--priority", "4"],
        ["explode"],
    ],
    ids=" ".join,
)
def test_usage_error_is_exit_code_2_and_opens_no_database(arguments: list[str]) -> None:
    # Run in this process, because they fail before anything is opened.
    misused = CliRunner().invoke(app, arguments)

    assert misused.exit_code == 2
    assert misused.stdout == ""
    assert "Usage: " in misused.stderr


def test_help_lists_every_command() -> None:
    overview = CliRunner().invoke(app, ["--help"]).stdout
    for command in app.registered_commands:
        assert command.callback is not None
        name = command.name or command.callback.__name__
        assert f" {name} " in overview
        assert CliRunner().invoke(app, [name, "--help"]).exit_code == 0


def test_database_that_is_not_migrated_is_told_with_what_to_do(
    empty_home: Path, created_home: StoredHome
) -> None:
    home = created_home.copy_to(empty_home)

    too_early = call_command(home, "token", "--email", "linh@example.org")

    assert too_early.returncode == 1
    assert "automatch migrate" in too_early.stderr


def test_jobs_works_while_nothing_runs(ready_home: Path) -> None:
    paused = call_command(ready_home, "jobs", "pause")
    shown = call_command(ready_home, "jobs", "stats", "--json")

    assert paused.stdout == "The queue is paused; jobs waiting: 0.\n"
    assert json.loads(shown.stdout)["queue"]["paused"] is True
