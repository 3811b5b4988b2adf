"""The command line: `--help` is quick, and every command can be run."""

from __future__ import annotations

import inspect
import re
import subprocess
import sys

import pytest
import typer
from typer.testing import CliRunner

from automatch.cli.main import COMMANDS, create_cli, load_command

_HEAVY = ("fastapi", "numpy", "onnxruntime", "PIL", "psycopg", "pydantic", "structlog", "uvicorn")


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys\n"
        "from typer.testing import CliRunner\n"
        "from automatch.cli.main import create_cli\n"
        "assert CliRunner().invoke(create_cli([]), ['--help']).exit_code == 0\n"
        f"print(*(name for name in {_HEAVY!r} if name in sys.modules))"
    )

    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=50
    )

    assert done.stdout.split() == []


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
