"""What commands and logs print never controls the terminal, whoever wrote it."""

from __future__ import annotations

import json
import logging
import os
import pty
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import structlog

import automatch.cli
from automatch.cli.main import main
from automatch.cli.output.echo import echo, echo_json
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
    try:
        configure_logging(Settings())
        structlog.get_logger("test").warning("refused", name=_EVIL)
        logging.getLogger("library").warning("refused %s", _EVIL)
    finally:
        root.handlers[:] = handlers
        root.setLevel(level)
        structlog.reset_defaults()

    logged = capsys.readouterr().err
    assert logged.count("a?[2J?2J?b") == 2


def test_every_command_prints_in_this_way() -> None:
    for path in Path(automatch.cli.__file__).parent.rglob("*.py"):
        if path.name != "echo.py":
            source = path.read_text("utf-8")
            assert not re.search(r"\btyper\.s?echo\(|model_dump_json", source), path


def test_ctrl_c_leaves_a_question_that_is_asked_in_an_event_loop() -> None:
    terminal, end = pty.openpty()
    asking = """
import asyncio
import typer
from automatch.cli.output.echo import confirmed

async def ask():
    confirmed("Erase it?", yes=False)

typer.run(lambda: asyncio.run(ask()))
"""
    with subprocess.Popen([sys.executable, "-c", asking], stdin=end, stdout=end, stderr=end) as it:
        os.close(end)
        told = b""
        while b"[y/N]" not in told:
            told += os.read(terminal, 100)
        it.send_signal(signal.SIGINT)
        try:
            assert it.wait(30) == 1
        finally:
            it.kill()
    assert b"Aborted" in os.read(terminal, 100)
    os.close(terminal)
