"""Workers as processes, to be killed, frozen and disconnected."""

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

from psycopg.conninfo import conninfo_to_dict

from tests.support.command import environment
from tests.support.forks import ForkedProcess
from tests.support.photo_store import mark_folder
from tests.support.postgres import TestCluster
from tests.support.waiting import wait_until

_ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class WorkerProcess:
    """One worker process and its log file."""

    process: subprocess.Popen[str]
    log: Path

    @property
    def is_alive(self) -> bool:
        return self.process.poll() is None

    @property
    def worker_id(self) -> UUID:
        """The id in the rows of the jobs that it holds."""
        return UUID(self.wait_for_log("worker started")[0]["worker"])

    def log_entries(self, event: str) -> list[dict[str, Any]]:
        """Return all log entries of one event."""
        # The last line may not be whole yet.
        whole, _, _ = self.log.read_bytes().rpartition(b"\n")
        lines = (line for line in whole.decode().splitlines() if line.startswith("{"))
        return [entry for entry in map(json.loads, lines) if entry.get("event") == event]

    def wait_for_log(self, event: str) -> list[dict[str, Any]]:
        """Return the log entries of an event once there is one."""
        return wait_until(
            lambda: self.log_entries(event), f"{event!r} in {self.log.read_text()[-2000:]}"
        )

    def send(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def write_line(self, line: str) -> None:
        """Write a line to its stdin."""
        assert self.process.stdin is not None
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()


class WorkerProcesses:
    """Starts workers on one database and leaves none behind."""

    def __init__(self, home: Path, database_url: str, settings: dict[str, str]) -> None:
        self._home = home
        self._environment = environment(home) | {
            "AUTOMATCH_DATABASE_URL": database_url,
            "AUTOMATCH_LOG_JSON": "true",
            "PYTHONPATH": str(_ROOT),
            **{f"AUTOMATCH_{name}": value for name, value in settings.items()},
        }
        self.processes: list[WorkerProcess] = []

    def start(self, *mode: str) -> WorkerProcess:
        """Start `automatch worker`, or with a mode `tests.support.scripted_worker`."""
        module = ["tests.support.scripted_worker", *mode] if mode else ["automatch", "worker"]
        path = self._home / f"worker-{len(self.processes)}.log"
        with path.open("w") as log:
            process = ForkedProcess(
                [sys.executable, "-m", *module],
                env=self._environment,
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                text=True,
            )
        worker = WorkerProcess(process, path)
        self.processes.append(worker)
        return worker

    def start_ready(self, count: int, *mode: str) -> list[WorkerProcess]:
        """Start *count* workers and wait until they work."""
        workers = [self.start(*mode) for _ in range(count)]
        for worker in workers:
            worker.wait_for_log("worker started")
        return workers

    def kill_all(self) -> None:
        """Kill those that still run."""
        for worker in self.processes:
            if worker.is_alive:
                worker.process.kill()
            worker.process.wait(60)
            assert worker.process.stdin is not None
            worker.process.stdin.close()


@contextmanager
def worker_processes(
    cluster: TestCluster, home: Path, database_url: str, **settings: object
) -> Iterator[WorkerProcesses]:
    """Give workers for a database of the shared cluster; settings as `worker__lease_s=2`."""
    home.mkdir(mode=0o700, parents=True, exist_ok=True)
    secrets = home / "secrets.json"
    if not secrets.exists():
        shutil.copy2(cluster.settings.home / "secrets.json", secrets)
    database = str(conninfo_to_dict(database_url)["dbname"])
    mark_folder(cluster.address.named(database).owner, home / "photos")
    names = {name.upper(): str(value) for name, value in settings.items()}
    workers = WorkerProcesses(home, database_url, names)
    try:
        yield workers
    finally:
        workers.kill_all()
