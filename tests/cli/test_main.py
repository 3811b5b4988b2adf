"""The command line: `--help` is quick, every command can be run, and none is run by mistake."""

from __future__ import annotations

import inspect
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from automatch.cli.main import COMMANDS, create_cli, load_command
from automatch.settings.secrets import load_or_create
from tests.support.command import call_command, environment
from tests.support.postgres import Database, TestCluster


def _walk(command: Any, path: Sequence[str] = ()) -> Iterator[tuple[str, Any]]:
    yield " ".join(path), command
    for name, child in getattr(command, "commands", {}).items():
        yield from _walk(child, [*path, name])


_SERVING = ("fastapi", "httpx2", "jinja2", "joserfc", "starlette", "uvicorn")
_NOT_TO_READ = (*_SERVING, "automatch.http", "cryptography", "dlib", "numpy", "onnxruntime", "PIL")
_HEAVY = (*_NOT_TO_READ, "psycopg", "pydantic_settings", "rich.table", "structlog")
_READING = (
    *("about", "notice list"),
    *("stats", "logs", "duplicates list", "threshold", "schedule", "tune", "db url", "token list"),
    *(
        "jobs list",
        "jobs stats",
        "audit list",
        "operator list",
        "mail list",
        "models list",
        "models status",
    ),
    "calibrate --list",
)
_ALL = dict(_walk(typer.main.get_command(create_cli())))
_EXAMPLE = re.compile(r"Example: `(?:psql \"\$\()?automatch (.+?)(?:\)\")?`")
_NEEDS_NONE = (
    *("", "up", "bench", "models", "models list", "models fetch", "models verify", "db export"),
    *("backup list", "backup new-key"),
)
"""Commands that work where there is no installation."""
_SAYS_OTHERWISE = ("backup check", "doctor", "import", "models use", "notice publish", "restore")
"""Commands that say something else where there is none."""


def test_command_modules_import_nothing_heavy() -> None:
    code = (
        "import sys\n"
        "from typer.testing import CliRunner\n"
        "from automatch.cli.main import create_cli\n"
        "for words in (['--help'], ['jobs', 'list', '--help']):\n"
        "    assert CliRunner().invoke(create_cli(), words).exit_code == 0\n"
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
        "import automatch.cli.commands.installation.worker, automatch.cli.commands.people.demo\n"
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
    package = "automatch.cli.commands.queue"
    assert done.stderr.split() == [package, f"{package}.jobs"]


@pytest.mark.parametrize("name", COMMANDS)
def test_line_of_a_command_is_the_first_of_its_own_help(name: str) -> None:
    target, line = COMMANDS[name]

    command = load_command(target)

    text = command.info.help if isinstance(command, typer.Typer) else inspect.getdoc(command)
    paragraph = " ".join(text.split("\n\n")[0].split())
    assert paragraph.startswith(line)


@pytest.mark.parametrize("path", _ALL)
def test_help_of_every_command_fits_and_has_an_example_that_is_right(path: str) -> None:
    shown = _help_of(path)

    assert f"Usage: automatch {path}" in shown
    # Click ends a line with dots where it has cut it off.
    assert not re.search(r"\w\.\.\.$", shown.partition("\n")[2], re.MULTILINE), shown
    _parse(path, shown)


@cache
def _help_of(path: str) -> str:
    words = path.split()
    env = {"COLUMNS": "80", "TERMINAL_WIDTH": "80"}
    shown = CliRunner().invoke(create_cli(words[:1]), [*words, "--help"], env=env)
    assert shown.exit_code == 0, shown.output
    return shown.output


def _parse(path: str, shown: str) -> list[str]:
    """Return the words of the example, which starts with the command and is parsed by it."""
    found = _EXAMPLE.search(" ".join(shown.split()))
    assert found, shown
    words = shlex.split(found[1])
    assert words[: len(path.split())] == path.split()
    command, rest = _ALL[""], words
    while hasattr(command, "commands") and rest and rest[0] in command.commands:
        command, rest = command.commands[rest[0]], rest[1:]
    command.make_context("automatch", list(rest))
    return words


@pytest.mark.parametrize("path", [path for path in _ALL if path not in _NEEDS_NONE])
def test_mistyped_data_folder_is_named_and_not_made(path: str, tmp_path: Path) -> None:
    home = tmp_path / "mistyped"
    words = _parse(path, _help_of(path))

    refused = call_command(home, *words)

    assert refused.returncode == 1
    assert not home.exists()
    if path not in _SAYS_OTHERWISE:
        assert f"There is no installation in {home}" in refused.stderr


def test_database_that_is_elsewhere_is_not_made_here(tmp_path: Path) -> None:
    home = tmp_path / "home"
    load_or_create(home)

    refused = call_command(home, "jobs", "list")

    assert refused.returncode == 1
    assert "set AUTOMATCH_DATABASE_URL" in refused.stderr
    assert not (home / "postgres").exists()


def test_misspelt_command_is_refused_with_a_guess() -> None:
    shown = CliRunner().invoke(create_cli([]), ["job"])

    assert shown.exit_code == 2
    assert "Did you mean" in shown.output
