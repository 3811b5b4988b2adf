"""The installation of a benchmark: its own data folder, its own Postgres, and its end."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from automatch.errors.configuration import BenchFailedError

_KEPT = ("WORKER__", "VISION__", "POOL__", "POSTGRES__")
"""Settings that are measured as they are set here; all others are the defaults."""
_PORTS = ("WORKER__HEALTH_PORT",)
_START_S = 120
_STOP_S = 30
SCHOOL = "Bench"


@asynccontextmanager
async def temporary_folder(beside: Path) -> AsyncIterator[Path]:
    """Give a data folder on the disk of a real one, and remove all of it at the end."""
    place = next(folder for folder in beside.parents if folder.is_dir())
    if not os.access(place, os.W_OK):
        place = Path(tempfile.gettempdir())
    with tempfile.TemporaryDirectory(prefix="automatch-bench-", dir=place) as name:
        home = Path(name) / "data"
        try:
            yield home
        finally:
            # For root the database lies elsewhere.
            for part in (home / "postgres" / "run", home / "postgres"):
                if part.is_symlink():
                    await asyncio.to_thread(shutil.rmtree, part.resolve(), ignore_errors=True)


@asynccontextmanager
async def running_installation(home: Path, *options: str) -> AsyncIterator[tuple[str, int]]:
    """Run `automatch up` with options on a data folder; give its address and its process id.

    Raises:
        BenchFailedError: it does not start; the message has its last line.
    """
    log = home.with_name("log")
    with log.open("wb") as errors:
        process = await asyncio.create_subprocess_exec(
            *_command(home, "up", "--port", "0", "--host", "127.0.0.1", *options),
            env=_environment(),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=errors,
            # Ctrl-C stops the benchmark, which stops this.
            start_new_session=True,
        )
    try:
        yield await _wait_ready(process, log), process.pid
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        try:
            async with asyncio.timeout(_STOP_S):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()


async def _wait_ready(process: asyncio.subprocess.Process, log: Path) -> str:
    assert process.stdout is not None
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_START_S):
            async for line in process.stdout:
                words = line.decode().partition("is ready: ")
                if words[1]:
                    return words[2].strip()
    raise BenchFailedError(f"It does not start: {_last_line(log)}")


async def fill_school(home: Path, people: int) -> None:
    """Fill the school with simulated people.

    Raises:
        BenchFailedError: this fails.
    """
    filling = await asyncio.create_subprocess_exec(
        *_command(home, "demo", "--school", SCHOOL, "--people", str(people)),
        env=_environment(),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    _, said = await filling.communicate()
    if filling.returncode:
        last = said.decode(errors="replace").strip().rpartition("\n")[2]
        raise BenchFailedError(f"Its school cannot be filled: {last}")


def _command(home: Path, *words: str) -> list[str]:
    return [sys.executable, "-m", "automatch", *words, "--home", str(home)]


def _environment() -> dict[str, str]:
    env = {}
    for name, value in os.environ.items():
        setting = name.removeprefix("AUTOMATCH_")
        if setting == name or (setting.startswith(_KEPT) and setting not in _PORTS):
            env[name] = value
    return env | {"AUTOMATCH_LIMITS__ENABLED": "false", "AUTOMATCH_LOG_LEVEL": "warning"}


def _last_line(log: Path) -> str:
    lines = log.read_text("utf-8", errors="replace").strip().splitlines()
    return lines[-1].removeprefix("automatch: ") if lines else "it said nothing"
