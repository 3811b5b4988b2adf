"""Ends the Postgres processes that a killed run left behind.

Processes of a cluster are found by its name in their titles, which every user may read. A process
id alone proves nothing, because ids are reused.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING

import structlog

from automatch.errors.store import EmbeddedPostgresError
from automatch.postgres.addresses import PORT
from automatch.postgres.postmaster import FAST, FAST_S, IMMEDIATE

if TYPE_CHECKING:
    from automatch.postgres.cluster import Cluster

log = structlog.get_logger(__name__)

_IMMEDIATE_S = 10
_KILL_S = 10


def end_orphans(cluster: Cluster) -> None:
    """End the processes of this cluster that a killed run left behind, and wait for them.

    Postgres refuses to start when its lock file has the id of any living process of its user. So a
    lock file is deleted if the process that it names is no Postgres, or one of another folder.

    Raises:
        EmbeddedPostgresError: a process does not end.
    """
    if not Path("/proc/self/cmdline").exists():
        return
    server = _recorded_server(cluster)
    if server in _processes(cluster):
        log.warning("stopping the postgres of an earlier run", pid=server)
        _signal([server], FAST)
        if not _wait_gone([server], FAST_S):
            _signal([server], IMMEDIATE)
            _wait_gone([server], _IMMEDIATE_S)
    # Backends end without their server, but not before a long query has finished.
    others = _processes(cluster)
    _signal(others, IMMEDIATE)
    if not _wait_gone(others, _IMMEDIATE_S):
        # A stopped process takes no other signal.
        _signal(others := _processes(cluster), signal.SIGKILL)
    if not _wait_gone(others, _KILL_S):
        raise EmbeddedPostgresError(
            f"Processes of an earlier Postgres on {cluster.data} do not end: {others}; end them."
        )
    for path in (_pid_file(cluster), cluster.socket_folder / f".s.PGSQL.{PORT}.lock"):
        _remove_if_stale(path, cluster)


def _pid_file(cluster: Cluster) -> Path:
    return cluster.data / "postmaster.pid"


def _recorded_server(cluster: Cluster) -> int:
    try:
        return int(_pid_file(cluster).read_text().split("\n", 1)[0])
    except (FileNotFoundError, ValueError):
        return 0


def _remove_if_stale(path: Path, cluster: Cluster) -> None:
    try:
        pid = int(path.read_text().split("\n", 1)[0])
        program = _command_line(pid)[0]
        is_postgres = program.endswith("postgres") or program.startswith("postgres:")
        # The working directory of a server and its backends is their data directory.
        if is_postgres and Path(f"/proc/{pid}/cwd").samefile(cluster.data):
            return
    except (OSError, ValueError):
        # There is no such file or process, or we may not read it; Postgres decides by itself.
        return
    log.warning("removing a stale lock file", path=str(path), names=pid)
    path.unlink()


def _processes(cluster: Cluster) -> list[int]:
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        # A process may end at any time.
        with contextlib.suppress(FileNotFoundError, ProcessLookupError, PermissionError):
            is_ours = entry.stat().st_uid == cluster.os_user.uid
            if is_ours and _belongs(cluster, _command_line(int(entry.name))):
                found.append(int(entry.name))
    return found


def _command_line(pid: int) -> list[str]:
    return os.fsdecode(Path(f"/proc/{pid}/cmdline").read_bytes()).split("\0")


def _belongs(cluster: Cluster, command_line: list[str]) -> bool:
    if command_line[0].startswith(f"postgres: {cluster.name}: "):
        return True
    # The second form is a server that the operator started manually.
    return command_line[0].endswith("postgres") and (
        f"--cluster_name={cluster.name}" in command_line or str(cluster.data) in command_line
    )


def _signal(pids: list[int], how: signal.Signals) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, how)


def _wait_gone(pids: list[int], timeout_s: float) -> bool:
    deadline = time.monotonic() + timeout_s
    for pid in pids:
        try:
            # They are not our children, so `wait` does not apply; a pidfd reports their end.
            descriptor = os.pidfd_open(pid)
        except ProcessLookupError:
            continue
        poll = select.poll()
        poll.register(descriptor, select.POLLIN)
        ended = poll.poll(max(0.0, deadline - time.monotonic()) * 1000)
        os.close(descriptor)
        if not ended:
            return False
    return True
