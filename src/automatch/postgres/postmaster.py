"""The server process of the embedded cluster: its settings, start and end."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import signal
import sys
from typing import IO, TYPE_CHECKING

from automatch.errors.store import EmbeddedPostgresError
from automatch.postgres.addresses import PORT
from automatch.postgres.os_user import CLEAN_ENVIRONMENT

if TYPE_CHECKING:
    from collections.abc import Callable

    from automatch.postgres.cluster import Cluster
    from automatch.settings.database import PostgresSettings

FAST = signal.SIGINT
"""Fast shutdown: Postgres ends its sessions, writes a checkpoint and exits."""
IMMEDIATE = signal.SIGQUIT
"""Immediate shutdown: Postgres exits at once and recovers at the next start; no commit is lost."""

FAST_S = 30
_IMMEDIATE_S = 10
_FORCED_S = 3
"""Seconds for each way to stop, once somebody does not want to wait."""
_KILL_S = 5
_PR_SET_PDEATHSIG = 1
_LOG_FILES = 10


def server_settings(cluster: Cluster, settings: PostgresSettings) -> dict[str, str]:
    """Return the server's settings, which override the cluster's configuration files."""
    return {
        "cluster_name": cluster.name,
        "listen_addresses": "",
        "port": str(PORT),
        # The value is a list: a folder with a comma or a space is quoted.
        "unix_socket_directories": '"{}"'.format(str(cluster.socket_folder).replace('"', '""')),
        "unix_socket_permissions": "0700",
        "shared_buffers": f"{settings.shared_buffers_mb}MB",
        "max_connections": str(settings.max_connections),
        # JIT compilation costs more than it saves on queries of a few milliseconds.
        "jit": "off",
        # The data of one school fits in the cache; three I/O worker processes would be idle.
        "io_method": "sync",
        "max_wal_size": "512MB",
        # Most of the write-ahead log is full pages, written once after each checkpoint, and they
        # compress well. pglz is the only method of this build.
        "wal_compression": "pglz",
        # A segment of the log that is no longer needed is deleted: kept under another name it would
        # hold what was erased for as long as the server is idle.
        "wal_recycle": "off",
        # Rows of the queue live for seconds. With the default of one minute, its indexes would grow
        # faster than autovacuum cleans them.
        "autovacuum_naptime": "10s",
        "fsync": "on",
        "full_page_writes": "on",
        "synchronous_commit": "on",
        "password_encryption": "scram-sha-256",
        "timezone": "UTC",
        "log_timezone": "UTC",
        "logging_collector": "on",
        "log_directory": str(cluster.log_folder),
        "log_filename": "postgres-%Y%m%d-%H%M%S.log",
        "log_file_mode": "0600",
        "log_rotation_age": "1d",
        "log_rotation_size": "10MB",
        # An error may contain values (an e-mail address, an embedding) in its message, its detail
        # or the statement. The client receives it, but the log must not.
        "log_min_messages": "log",
        "log_min_error_statement": "panic",
        "log_error_verbosity": "terse",
        "log_statement": "none",
        "log_min_duration_statement": "-1",
        "log_parameter_max_length": "0",
        "log_parameter_max_length_on_error": "0",
    }


async def spawn(
    cluster: Cluster, settings: dict[str, str], errors: IO[bytes]
) -> asyncio.subprocess.Process:
    """Start the server as a child that ends with the calling thread.

    Args:
        cluster: the cluster to serve.
        settings: of Postgres, as `server_settings` returns them.
        errors: receives the server's output before its log is open.

    Raises:
        EmbeddedPostgresError: the program cannot be started.
    """
    options = [f"--{name}={value}" for name, value in settings.items()]
    try:
        return await asyncio.create_subprocess_exec(
            str(cluster.binaries / "bin" / "postgres"),
            "-D",
            str(cluster.data),
            *options,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=errors,
            stderr=errors,
            cwd="/",
            env=CLEAN_ENVIRONMENT,
            # Ctrl-C signals the terminal's whole process group; the server must be stopped last, by
            # us.
            start_new_session=True,
            # One call into a loaded C library. A change of the user resets the death signal, so it
            # must be set after that change, which only `preexec_fn` allows.
            preexec_fn=_die_with_parent(os.getpid()),
            **cluster.os_user.subprocess_args,
        )
    except OSError as exc:
        raise EmbeddedPostgresError(f"Postgres could not be started: {exc}.") from exc


def _die_with_parent(parent: int) -> Callable[[], None] | None:
    if sys.platform != "linux":
        return None
    prctl = ctypes.CDLL(None).prctl

    def ask_kernel() -> None:
        prctl(_PR_SET_PDEATHSIG, int(FAST), 0, 0, 0)
        # If the parent has died before the call, no signal will come.
        if os.getppid() != parent:
            os._exit(1)

    return ask_kernel


async def end(process: asyncio.subprocess.Process, forced: asyncio.Event | None = None) -> None:
    """Stop the server by a fast shutdown, an immediate one if that takes too long, else kill it.

    Once *forced* is set, it is given less time for each.
    """
    exited = asyncio.create_task(process.wait())
    hurry = asyncio.create_task((forced or asyncio.Event()).wait())
    ways = ((FAST, FAST_S), (IMMEDIATE, _IMMEDIATE_S), (signal.SIGKILL, _KILL_S))
    try:
        for how, patience_s in ways:
            if process.returncode is not None:
                return
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(how)
            await asyncio.wait(
                {exited, hurry}, timeout=patience_s, return_when=asyncio.FIRST_COMPLETED
            )
            if hurry.done():
                await asyncio.wait({exited}, timeout=_FORCED_S)
    finally:
        exited.cancel()
        hurry.cancel()


def prune_logs(cluster: Cluster) -> None:
    """Delete all but the newest log files; the server starts one a day and every 10 MB."""
    names = sorted(cluster.log_folder.glob("postgres-*.log"))
    for path in names[:-_LOG_FILES]:
        with contextlib.suppress(FileNotFoundError):
            path.unlink()
