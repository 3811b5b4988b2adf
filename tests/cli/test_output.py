"""What commands and logs print never controls the terminal, whoever wrote it."""

from __future__ import annotations

import asyncio
import json
import logging
import re
import signal
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from uuid import UUID

import pytest
import structlog

import automatch.cli
from automatch.cli.main import main
from automatch.cli.output.echo import confirmed, echo, echo_json
from automatch.cli.runtime.logging_setup import configure_logging
from automatch.errors.request import InputInvalidError
from automatch.settings import Settings

_EVIL = "a\x1b[2J\x9b2J\u202eb"


def test_lines_and_json_are_shown_without_control(capsys: pytest.CaptureFixture[str]) -> None:
    echo(f"{_EVIL}\nsecond line", err=True)
    echo_json({"school": _EVIL})

    printed = capsys.readouterr()
    assert printed.err == "a?[2J?2J?b\nsecond line\n"
    assert printed.out.isascii()
    assert "\x1b" not in printed.out
    assert json.loads(printed.out) == {"school": _EVIL}


def test_times_and_ids_in_json_are_text(capsys: pytest.CaptureFixture[str]) -> None:
    echo_json({"at": datetime(2026, 12, 1, tzinfo=UTC), "id": UUID(int=1)}, indent=None)

    assert json.loads(capsys.readouterr().out) == {
        "at": "2026-12-01T00:00:00+00:00",
        "id": "00000000-0000-0000-0000-000000000001",
    }


def test_error_of_a_command_is_shown_without_control(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail() -> None:
        raise InputInvalidError(f"There is no {_EVIL}.")

    monkeypatch.setattr("automatch.cli.main.create_cli", lambda _: fail)
    with pytest.raises(SystemExit):
        main()

    assert capsys.readouterr().err == "automatch: There is no a?[2J?2J?b.\n"


def test_log_is_without_control(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    of_tests = structlog.get_config()
    try:
        configure_logging(Settings())
        structlog.get_logger("test").warning("refused", name=_EVIL)
        logging.getLogger("library").warning("refused %s", _EVIL)
    finally:
        root.handlers[:] = handlers
        root.setLevel(level)
        structlog.configure(**of_tests)

    logged = capsys.readouterr().err
    assert logged.count("a?[2J?2J?b") == 2


def test_every_command_prints_in_this_way() -> None:
    for path in Path(automatch.cli.__file__).parent.rglob("*.py"):
        if path.name != "echo.py":
            source = path.read_text("utf-8")
            assert not re.search(r"\btyper\.s?echo\(|model_dump_json", source), path


def test_ctrl_c_leaves_a_question_that_is_asked_in_an_event_loop(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def press_ctrl_c(_: str) -> bool:
        signal.raise_signal(signal.SIGINT)
        raise AssertionError("the question goes on")

    async def ask() -> None:
        confirmed("Erase it?", yes=False)

    monkeypatch.setattr("sys.stdin", SimpleNamespace(isatty=lambda: True))
    monkeypatch.setattr("typer.confirm", press_ctrl_c)
    handler = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        asyncio.run(ask())

    assert signal.getsignal(signal.SIGINT) is handler
