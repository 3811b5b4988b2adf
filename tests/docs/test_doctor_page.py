"""docs/doctor.md: it names every check, and every command in it has these options."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
from typer.testing import CliRunner

from automatch.cli.main import COMMANDS, create_cli
from automatch.ops.doctor.run_checks import CHECKS
from automatch.ops.smoke_test.criteria import Criterion

_PAGE = (Path(__file__).parents[2] / "docs" / "doctor.md").read_text()
_COMMANDS = sorted({*re.findall(r"`automatch ((?:doctor|verify|stats|logs|tune)\b.*?)`", _PAGE)})


def test_every_check_is_on_the_page_with_its_title() -> None:
    rows = re.findall(r"^\| `([a-z]+\.[a-z]+)` \| (.+?) \| ", _PAGE, re.MULTILINE)

    assert rows == [(check.name, check.title) for check in CHECKS]


def test_checks_have_names_of_their_own() -> None:
    assert len({check.name for check in CHECKS}) == len(CHECKS) > 35


def test_every_check_that_a_symptom_names_is_there() -> None:
    named = set(
        re.findall(
            r"`((?:machine|storage|backup|queue|search|schedule|mail|access|operator)\.\w+)`", _PAGE
        )
    )

    assert named == {check.name for check in CHECKS}


def test_every_criterion_is_in_the_example() -> None:
    shown = re.findall(r"^✓ (.+?): ", _PAGE, re.MULTILINE)

    assert shown == [criterion.value for criterion in Criterion]


@pytest.mark.parametrize("command", _COMMANDS)
def test_command_has_these_options(command: str) -> None:
    name, *arguments = shlex.split(command)

    shown = CliRunner().invoke(create_cli([name]), [name, "--help"], env={"COLUMNS": "200"})

    assert name in COMMANDS
    assert shown.exit_code == 0
    for option in arguments:
        if option.startswith("--"):
            assert option in shown.stdout
