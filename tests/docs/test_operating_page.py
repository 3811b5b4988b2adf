"""docs/operating.md: every cell of its table is a command, a statement or a route that works."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path
from typing import Any

import psycopg
import pytest
from typer.testing import CliRunner

from automatch.cli.commands.queue.jobs import app
from tests.http.routes.test_admin import Operator
from tests.support.build import a_face, a_job, a_profile, claim, one
from tests.support.system import System

_PAGE = (Path(__file__).parents[2] / "docs" / "operating.md").read_text()
_ROWS = re.findall(
    r"^\| ([\w ]+) \| `automatch jobs (.*?)` \| `(select .*?)` \| `(\w+) (/\S+)`(?: `(.*?)`)? \|$",
    _PAGE,
    re.MULTILINE,
)
_ID = "00000000-0000-0000-0000-000000000000"


@pytest.mark.parametrize("row", _ROWS, ids=lambda row: row[0])
def test_statement_works(conn: psycopg.Connection, row: tuple[str, ...]) -> None:
    job = a_job(conn, a_face(conn, a_profile(conn, school="UIT")))
    _, token = claim(conn)
    one(
        conn,
        "select count(*) = 1 from public.fail_match_jobs(array[%s]::uuid[],"
        " array[%s]::bigint[], array['job_crashed'], array['Why.'])",
        job,
        token,
    )

    assert conn.execute(row[2].replace("ID", str(job)).encode()).fetchall() is not None


@pytest.mark.parametrize("row", _ROWS, ids=lambda row: row[0])
def test_command_has_these_options(row: tuple[str, ...]) -> None:
    name, *arguments = shlex.split(row[1])

    shown = CliRunner().invoke(app, [name, "--help"])

    assert shown.exit_code == 0
    for option in arguments:
        if option.startswith("--"):
            assert option in shown.stdout


@pytest.mark.anyio
async def test_routes_work(server: System, subtests: pytest.Subtests) -> None:
    await server.join(school="UIT")
    for what, _, _, method, path, body in _ROWS:
        with subtests.test(what):
            sent: Any = json.loads(body.replace("ID", _ID)) if body else None
            answer = await Operator(server).ask(method, path.replace("ID", _ID), sent)
            assert answer.status_code == (404 if "/ID" in path else 200), answer.text


def test_table_names_every_command() -> None:
    documented = {shlex.split(row[1])[0] for row in _ROWS}
    known = {
        command.name or command.callback.__name__
        for command in app.registered_commands
        if command.callback
    }

    assert len(_ROWS) == len(re.findall(r"^\| .*`automatch jobs .*`select ", _PAGE, re.MULTILINE))
    assert documented == known
