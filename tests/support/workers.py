"""Workers as processes of their own, to be killed, frozen and cut off."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

from tests.support.command import environment
from tests.support.postgres import TestCluster
from tests.support.waiting import until

_ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Program:
    """One worker process and what it says."""

    process: subprocess.Popen[str]
    log: Path

    @property
    def is_alive(self) -> bool:
        return self.process.poll() is None

    @property
    def worker_id(self) -> UUID:
        """As it stands in the rows it holds."""
        return UUID(self.heard("worker started")[0]["worker"])

    def said(self, event: str) -> list[dict[str, Any]]:
        """Return all log lines of one event."""
        lines = (line for line in self.log.read_text().splitlines() if line.startswith("{"))
        return [told for told in map(json.loads, lines) if told.get("event") == event]

    def heard(self, event: str) -> list[dict[str, Any]]:
        """Return the log lines of an event once there is one."""
        return until(lambda: self.said(event), f"{event!r} in {self.log.read_text()[-2000:]}")

    def send(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def tell(self, line: str) -> None:
        """Write a line to its stdin."""
        assert self.process.stdin is not None
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()


class Workers:
    """Starts workers on one database and leaves none behind."""

    def __init__(self, home: Path, database_url: str, settings: dict[str, str]) -> None:
        self._home = home
        self._environment = environment(home) | {
            "AUTOMATCH_DATABASE_URL": database_url,
            "AUTOMATCH_LOG_JSON": "true",
            "PYTHONPATH": str(_ROOT),
            **{f"AUTOMATCH_{name}": value for name, value in settings.items()},
        }
        self.programs: list[Program] = []

    def start(self, *command: str) -> Program:
        """Start `automatch worker`, or a worker of `odd_worker` in one of its ways."""
        what = ["tests.support.odd_worker", *command] if command else ["automatch", "worker"]
        path = self._home / f"worker-{len(self.programs)}.log"
        with path.open("w") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", *what],
                env=self._environment,
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                text=True,
            )
        program = Program(process, path)
        self.programs.append(program)
        return program

    def start_ready(self, count: int, *command: str) -> list[Program]:
        """Start some and wait until they work."""
        programs = [self.start(*command) for _ in range(count)]
        for program in programs:
            program.heard("worker started")
        return programs

    def end(self) -> None:
        """Kill what still runs."""
        for program in self.programs:
            if program.is_alive:
                program.process.kill()
            program.process.wait(30)
            assert program.process.stdin is not None
            program.process.stdin.close()


@contextmanager
def worker_programs(
    cluster: TestCluster, home: Path, database_url: str, **settings: object
) -> Iterator[Workers]:
    """Give workers for a database of the shared cluster; settings as `lease_s=2`."""
    home.mkdir(mode=0o700, parents=True, exist_ok=True)
    secrets = home / "secrets.json"
    if not secrets.exists():
        shutil.copy2(cluster.settings.home / "secrets.json", secrets)
    names = {name.upper(): str(value) for name, value in settings.items()}
    workers = Workers(home, database_url, names)
    try:
        yield workers
    finally:
        workers.end()
