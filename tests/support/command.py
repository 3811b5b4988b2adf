"""The real command line, as a process of its own on an empty data folder."""

from __future__ import annotations

import contextlib
import io
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from queue import Empty, Queue
from unittest.mock import patch

import pytest
import typer.main
from structlog.testing import capture_logs

from automatch.cli.main import main
from tests.support.forks import MAX_FILES, ForkedProcess, fork_commands
from tests.support.homes import StoredHome
from tests.support.postgres import remove_home
from tests.support.waiting import PATIENCE_S

_READY = re.compile(r"Auto-Match is ready: (\S+)")


def environment(home: Path) -> dict[str, str]:
    """Return an environment in which only the data folder is set."""
    kept = {name: value for name, value in os.environ.items() if "AUTOMATCH" not in name}
    return kept | {"AUTOMATCH_HOME": str(home), "PYTHONUNBUFFERED": "1"}


def run_command(
    home: Path, *arguments: str, module: str = "automatch"
) -> subprocess.CompletedProcess[str]:
    """Run `automatch` to its end in a process of its own, which may handle signals."""
    return subprocess.run(
        [sys.executable, "-m", module, *arguments],
        env=environment(home),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def call_command(
    home: Path, *arguments: object, **settings: str
) -> subprocess.CompletedProcess[str]:
    """Run `automatch` to its end in this process, which has imported it; settings as `PORT="1"`.

    Not in an event loop (`asyncio.to_thread`); for no matter of the process: its log is dropped.
    """
    out, err = (io.TextIOWrapper(io.BytesIO(), "utf-8", write_through=True) for _ in range(2))
    words = ["automatch", *map(str, arguments)]
    env = environment(home) | {f"AUTOMATCH_{name}": value for name, value in settings.items()}
    with (
        patch.dict(os.environ, env, clear=True),
        patch.object(sys, "argv", words),
        # Its loggers would outlive it, with its stderr.
        patch("structlog.configure"),
        patch("logging.basicConfig"),
        capture_logs(),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        try:
            main()
            status = 0
        except SystemExit as end:
            status = end.code if isinstance(end.code, int) else int(end.code is not None)
    told, said = (stream.buffer.getvalue().decode() for stream in (out, err))
    return subprocess.CompletedProcess(words, status, told, said)


@dataclass
class Running:
    """A server of the command line while it runs."""

    home: Path
    process: subprocess.Popen[str]
    url: str = ""
    lines: list[str] = field(default_factory=list)
    _queue: Queue[str] = field(default_factory=Queue)
    _reader: threading.Thread | None = None

    def start_reading(self) -> None:
        """Collect what it prints, until it ends."""
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self._queue.put(line)

    def wait_until_read(self) -> None:
        """Return when all is read that it has printed, once it has ended."""
        assert self._reader is not None
        self._reader.join(PATIENCE_S)

    def wait_for(self, pattern: re.Pattern[str] | str) -> re.Match[str]:
        """Return the first match of *pattern* in a line that is yet to come."""
        with contextlib.suppress(Empty):
            while line := self._queue.get(timeout=PATIENCE_S):
                self.lines.append(line)
                if found := re.search(pattern, line):
                    return found
        pytest.fail(f"nothing like {pattern} was printed:\n{''.join(self.lines)}")

    def wait_for_first(self, pattern: str) -> re.Match[str]:
        """Return the first match of *pattern* in a line that was printed or is yet to come."""
        for line in self.lines:
            if found := re.search(pattern, line):
                return found
        return self.wait_for(pattern)

    def printed(self) -> list[str]:
        """Return all lines, once it has ended."""
        self.wait_until_read()
        with contextlib.suppress(Empty):
            while True:
                self.lines.append(self._queue.get_nowait())
        return self.lines

    def stop(self, number: signal.Signals = signal.SIGINT) -> int:
        """Send a signal and return the exit status."""
        self.process.send_signal(number)
        return self.process.wait(PATIENCE_S)


@contextmanager
def running_up(
    home: Path,
    *arguments: str,
    settings: Mapping[str, str] | None = None,
    is_forked: bool = True,
    module: str = "automatch",
) -> Iterator[Running]:
    """Run `automatch up` on a free port until left; settings as `WORKER__LEASE_S`."""
    with running_server_command(
        home, "up", *arguments, settings=settings, is_forked=is_forked, module=module
    ) as running:
        yield running


@contextmanager
def running_server_command(
    home: Path,
    *arguments: str,
    port: int = 0,
    settings: Mapping[str, str] | None = None,
    max_files: int | None = None,
    is_forked: bool = True,
    module: str = "automatch",
) -> Iterator[Running]:
    """Run a command that serves until left; settings as `WORKER__LEASE_S`.

    Not forked, it runs in an interpreter of its own, and without a limit of files.
    """
    more = {f"AUTOMATCH_{name}": value for name, value in (settings or {}).items()}
    if max_files is not None:
        more[MAX_FILES] = str(max_files)
    process = (ForkedProcess if is_forked else subprocess.Popen)(
        [sys.executable, "-m", module, *arguments, "--port", str(port)],
        env=environment(home) | more,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    running = Running(home, process)
    running.start_reading()
    try:
        running.url = running.wait_for(_READY)[1]
        yield running
    finally:
        if process.poll() is None:
            running.stop(signal.SIGTERM)
        running.wait_until_read()
        assert process.stdout is not None
        process.stdout.close()


@pytest.fixture(scope="session", autouse=True)
def _forked_commands() -> None:
    """Have the workers and commands that the product starts by itself forked."""
    fork_commands()


@pytest.fixture(scope="session", autouse=True)
def _signatures_read_once() -> Iterator[None]:
    """Have each command's options looked up once: that took a third of the time of a command."""
    read = cache(typer.main.get_params_from_function)
    with patch("typer.main.get_params_from_function", read):
        yield


@pytest.fixture
def empty_home(tmp_path: Path) -> Iterator[Path]:
    """Give the path of a data folder that is not there yet."""
    home = tmp_path / "data"
    yield home
    remove_home(home)


@pytest.fixture
def ready_home(tmp_path: Path, migrated_home: StoredHome) -> Iterator[Path]:
    """Give a data folder whose database is migrated."""
    home = tmp_path / "data"
    yield migrated_home.copy_to(home)
    remove_home(home)
