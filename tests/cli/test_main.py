"""The command line: `--help` is quick, and every command can be run."""

from __future__ import annotations

import inspect
import re
import subprocess
import sys
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from automatch.cli.main import COMMANDS, create_cli, load_command
from tests.support.command import environment
from tests.support.postgres import Database, TestCluster

_HEAVY = ("fastapi", "numpy", "onnxruntime", "PIL", "psycopg", "pydantic", "structlog", "uvicorn")


_NOT_TO_READ = (
    *("cryptography", "dlib", "fastapi", "httpx2", "jinja2", "joserfc"),
    *("numpy", "onnxruntime", "PIL", "starlette", "uvicorn"),
)
_SERVING = ("fastapi", "httpx2", "jinja2", "joserfc", "starlette", "uvicorn")
_READING = (
    *("stats", "logs", "duplicates list", "threshold", "schedule", "tune", "db url"),
    *("jobs list", "jobs stats", "jobs audit", "models list", "models status"),
)


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys\n"
        "from typer.testing import CliRunner\n"
        "from automatch.cli.main import create_cli\n"
        "assert CliRunner().invoke(create_cli([]), ['--help']).exit_code == 0\n"
        f"print(*(name for name in {_HEAVY!r} if name in sys.modules))"
    )

    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=100
    )

    assert done.stdout.split() == []


def test_commands_import_no_more_than_they_need(cluster: TestCluster, database: Database) -> None:
    code = (
        "import sys\n"
        "from automatch.cli.main import main\n"
        f"for command in {_READING!r}:\n"
        "    sys.argv = ['automatch', *command.split()]\n"
        "    try:\n"
        "        main()\n"
        "    except SystemExit as end:\n"
        "        assert not end.code, command\n"
        f"    heavy = [name for name in {_NOT_TO_READ!r} if name in sys.modules]\n"
        "    assert not heavy, (command, heavy)\n"
        "import automatch.cli.commands.worker, automatch.cli.commands.demo\n"
        f"heavy = [name for name in {_SERVING!r} if name in sys.modules]\n"
        "assert not heavy, heavy\n"
    )

    done = subprocess.run(
        [sys.executable, "-c", code],
        env=environment(cluster.settings.home) | {"AUTOMATCH_DATABASE_URL": database.owner},
        capture_output=True,
        text=True,
        check=False,
        timeout=200,
    )

    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    "typed",
    [
        {
            "_AUTOMATCH_COMPLETE": "complete_bash",
            "COMP_WORDS": "automatch jobs r",
            "COMP_CWORD": "2",
        },
        {"_AUTOMATCH_COMPLETE": "complete_zsh", "_TYPER_COMPLETE_ARGS": "automatch jobs r"},
    ],
    ids=["bash", "zsh"],
)
def test_completion_knows_the_command_and_imports_no_other(typed: dict[str, str]) -> None:
    code = (
        "import atexit, sys\n"
        "loaded = lambda: [name for name in sys.modules if '.cli.commands.' in name]\n"
        "atexit.register(lambda: print(*loaded(), file=sys.stderr))\n"
        "sys.argv = ['automatch']\n"
        "from automatch.cli.main import main\n"
        "main()\n"
    )

    done = subprocess.run(
        [sys.executable, "-c", code],
        env=environment(Path("/nonexistent")) | typed,
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )

    assert "resume" in done.stdout
    assert done.stderr.split() == ["automatch.cli.commands.jobs"]


@pytest.mark.parametrize("name", COMMANDS)
def test_line_of_a_command_is_the_first_of_its_own_help(name: str) -> None:
    target, line = COMMANDS[name]

    command = load_command(target)

    text = command.info.help if isinstance(command, typer.Typer) else inspect.getdoc(command)
    paragraph = " ".join(text.split("\n\n")[0].split())
    assert paragraph.startswith(line)


@pytest.mark.parametrize("name", COMMANDS)
def test_help_of_every_command_has_an_example(name: str) -> None:
    command = load_command(COMMANDS[name][0])

    functions = (
        [registered.callback for registered in command.registered_commands]
        if isinstance(command, typer.Typer)
        else [command]
    )

    for function in functions:
        assert re.search(r"^Example: `.*automatch .+`$", inspect.getdoc(function), re.MULTILINE)


@pytest.mark.parametrize("name", COMMANDS)
def test_command_is_reached(name: str) -> None:
    shown = CliRunner().invoke(create_cli([name]), [name, "--help"])

    assert shown.exit_code == 0, shown.output
    assert f"automatch {name}" in shown.output
    assert "--install-completion" not in shown.output


def test_misspelt_command_is_refused_with_a_guess() -> None:
    shown = CliRunner().invoke(create_cli([]), ["job"])

    assert shown.exit_code == 2
    assert "Did you mean" in shown.output
