"""The server process of an embedded cluster: what it is started with, and how it is ended."""

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
"""Postgres ends its sessions, writes a checkpoint and exits."""
IMMEDIATE = signal.SIGQUIT
"""Postgres exits at once and recovers from its log at the next start; nothing committed is lost."""

FAST_S = 30
_PR_SET_PDEATHSIG = 1
_LOG_FILES = 10


def server_settings(cluster: Cluster, settings: PostgresSettings) -> dict[str, str]:
    """Return what the server is started with; it wins over the cluster's own configuration."""
    return {
        "cluster_name": cluster.name,
        "listen_addresses": "",
        "port": str(PORT),
        # The value is a list: a folder with a comma or a space is quoted.
        "unix_socket_directories": '"{}"'.format(str(cluster.socket_folder).replace('"', '""')),
        "unix_socket_permissions": "0700",
        "shared_buffers": f"{settings.shared_buffers_mb}MB",
        "max_connections": str(settings.max_connections),
        # The compiler costs more than it saves on queries of a few milliseconds.
        "jit": "off",
        # One campus reads from cache; three more processes waiting for reads are not worth it.
        "io_method": "sync",
        "max_wal_size": "512MB",
        # Most of the log are whole pages, written once after each checkpoint; they shrink to a
        # fraction. pglz is what every build has, and this one has no other.
        "wal_compression": "pglz",
        # A queue is rows that die within seconds. With a minute between two looks (the default)
        # its indexes grow faster than they are cleaned.
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
        # A statement's error may quote its values (an e-mail address, an embedding), in its
        # message, its detail or the statement itself. The client gets it; the log must not.
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
    """Start the server as a child that ends when the calling thread does.

    Args:
        cluster: what to serve.
        settings: of Postgres, as `server_settings` returns them.
        errors: takes what the server says before its own log is open.

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
            # Ctrl-C goes to the terminal's whole group; the server is ours to stop, and last.
            start_new_session=True,
            # One call into a C library that is loaded already. It must follow the change of the
            # user, which would undo it, so no other place is left for it.
            preexec_fn=_die_with(os.getpid()),
            **cluster.owner.identity,
        )
    except OSError as exc:
        raise EmbeddedPostgresError(f"Postgres could not be started: {exc}.") from exc


def _die_with(parent: int) -> Callable[[], None] | None:
    if sys.platform != "linux":
        return None
    prctl = ctypes.CDLL(None).prctl

    def ask_kernel() -> None:
        prctl(_PR_SET_PDEATHSIG, int(FAST), 0, 0, 0)
        # A parent that died before the call sends no signal any more.
        if os.getppid() != parent:
            os._exit(1)

    return ask_kernel


async def end(process: asyncio.subprocess.Process) -> None:
    """Stop our own server: fast, and at once when that takes too long."""
    for how, patience_s in ((FAST, FAST_S), (IMMEDIATE, None)):
        if process.returncode is not None:
            return
        process.send_signal(how)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(patience_s):
                await process.wait()


def prune_logs(cluster: Cluster) -> None:
    """Keep the newest log files only; the server starts one a day and one for each 10 MB."""
    names = sorted(cluster.log_folder.glob("postgres-*.log"))
    for path in names[:-_LOG_FILES]:
        with contextlib.suppress(FileNotFoundError):
            path.unlink()
