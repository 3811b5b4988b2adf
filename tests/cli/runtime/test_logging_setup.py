from __future__ import annotations

import io
import logging
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog

from automatch.cli.runtime.log_stream import LogStream
from automatch.cli.runtime.logging_setup import configure_logging, load_settings_and_logging
from automatch.settings import Settings


@pytest.fixture(autouse=True)
def logging_of_before() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    of_tests = structlog.get_config()
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.configure(**of_tests)


class Disk(io.StringIO):
    """A file on a disk that may be full."""

    is_full = False

    def write(self, text: str) -> int:
        if self.is_full:
            raise OSError(28, "No space left on device")
        return super().write(text)


def test_lines_that_cannot_be_written_are_counted_and_end_nothing() -> None:
    disk = Disk()
    stream = LogStream(disk)
    stream.write("first\n")
    disk.is_full = True
    stream.write("second\n")
    stream.write("third\n")
    disk.is_full = False
    stream.write("fourth\n")

    assert disk.getvalue() == "first\n2 log lines could not be written at once\nfourth\n"


def test_log_goes_on_when_its_reader_has_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with open(writer, "w", buffering=1) as pipe:  # noqa: PTH123  a descriptor has no path
        monkeypatch.setattr(sys, "stderr", pipe)
        configure_logging(Settings())
        structlog.get_logger("test").error("worker exited")
        logging.getLogger("library").error("something")
        monkeypatch.undo()
        with pytest.raises(BrokenPipeError):
            pipe.close()


def test_relative_data_folder_is_made_absolute_and_said(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("AUTOMATCH_HOME", "data")

    settings = load_settings_and_logging()

    assert settings.home == tmp_path / "data"
    assert str(tmp_path / "data") in capsys.readouterr().err
