"""What a killed run left running on a cluster: recognised, ended and waited for.

All of a cluster's processes show its name in their titles, which every user may read. A process
id alone proves nothing: ids are used again.
"""

from __future__ import annotations

import contextlib
import os
import select
import time
from pathlib import Path
from typing import TYPE_CHECKING

import structlog

from automatch.errors.store import EmbeddedPostgresError
from automatch.postgres.addresses import PORT
from automatch.postgres.postmaster import FAST, FAST_S, IMMEDIATE

if TYPE_CHECKING:
    import signal

    from automatch.postgres.cluster import Cluster

log = structlog.get_logger(__name__)

_IMMEDIATE_S = 10


def end_leftovers(cluster: Cluster) -> None:
    """End what an earlier run that was killed left running on this cluster, and wait for it.

    Postgres takes any living process of its user for the server when a lock file names it, and
    then refuses to start; so a lock file goes when what it names is proved to be no Postgres.

    Raises:
        EmbeddedPostgresError: it does not end.
    """
    if not Path("/proc/self/cmdline").exists():
        return
    server = _recorded_server(cluster)
    if server in _processes(cluster):
        log.warning("stopping the postgres that an earlier run left", pid=server)
        _signal([server], FAST)
        if not _wait_gone([server], FAST_S):
            _signal([server], IMMEDIATE)
            _wait_gone([server], _IMMEDIATE_S)
    # Without their server the others end by themselves, but not in the middle of a long query.
    others = _processes(cluster)
    _signal(others, IMMEDIATE)
    if not _wait_gone(others, _IMMEDIATE_S):
        raise EmbeddedPostgresError(
            f"Processes of an earlier Postgres on {cluster.data} do not end: {others}; end them."
        )
    for path in (_pid_file(cluster), cluster.socket_folder / f".s.PGSQL.{PORT}.lock"):
        _remove_if_stale(path)


def _pid_file(cluster: Cluster) -> Path:
    return cluster.data / "postmaster.pid"


def _recorded_server(cluster: Cluster) -> int:
    try:
        return int(_pid_file(cluster).read_text().split("\n", 1)[0])
    except (FileNotFoundError, ValueError):
        return 0


def _remove_if_stale(path: Path) -> None:
    try:
        program = _words(int(path.read_text().split("\n", 1)[0]))[0]
    except (OSError, ValueError):
        # There is no such file or process, or it is hidden from us: Postgres judges it itself.
        return
    if not program.endswith("postgres") and not program.startswith("postgres:"):
        path.unlink()


def _processes(cluster: Cluster) -> list[int]:
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        # A process may end between two looks at it.
        with contextlib.suppress(FileNotFoundError, ProcessLookupError, PermissionError):
            is_owners = entry.stat().st_uid == cluster.owner.uid
            if is_owners and _belongs(cluster, _words(int(entry.name))):
                found.append(int(entry.name))
    return found


def _words(pid: int) -> list[str]:
    return os.fsdecode(Path(f"/proc/{pid}/cmdline").read_bytes()).split("\0")


def _belongs(cluster: Cluster, words: list[str]) -> bool:
    if words[0].startswith(f"postgres: {cluster.name}: "):
        return True
    # The second form is a server that the operator started by hand.
    return words[0].endswith("postgres") and (
        f"--cluster_name={cluster.name}" in words or str(cluster.data) in words
    )


def _signal(pids: list[int], how: signal.Signals) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, how)


def _wait_gone(pids: list[int], timeout_s: float) -> bool:
    deadline = time.monotonic() + timeout_s
    for pid in pids:
        try:
            # They are not our children; this tells when they end, whoever must collect them.
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
