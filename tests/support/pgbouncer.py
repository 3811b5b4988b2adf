"""A real pgbouncer in front of a database."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Literal

from psycopg.conninfo import conninfo_to_dict, make_conninfo

from automatch.postgres.os_user import find_os_user
from automatch.settings.database import PostgresSettings

Mode = Literal["session", "transaction"]

_POOL = 15
"""Sessions of a login with the database: as many as small plans of Supabase have."""
_STOP_S = 30


def find_pgbouncer() -> str | None:
    """Return the program, which Debian keeps where only root looks."""
    return shutil.which("pgbouncer", path=f"{os.environ.get('PATH', '')}:/usr/sbin")


@contextmanager
def running_pgbouncer(
    mode: Mode, addresses: Sequence[str], *, listen: str = "127.0.0.1"
) -> Iterator[str]:
    """Pool the sessions of these logins of one database; give the address for the first."""
    program = find_pgbouncer()
    assert program is not None, "pgbouncer is not installed"
    logins = [conninfo_to_dict(address) for address in addresses]
    # The path of its socket may lead through closed folders.
    host = str(logins[0]["host"])
    host = str(Path(host).resolve()) if host.startswith("/") else host
    # It refuses to run as root.
    user = find_os_user(PostgresSettings().system_user)
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        users = Path(name, "users.txt")
        users.write_text("".join(f'"{one["user"]}" "{one["password"]}"\n' for one in logins))
        config = Path(name, "pgbouncer.ini")
        settings = (
            f"[databases]\n* = host={host} port={logins[0]['port']}\n"
            f"[pgbouncer]\nlisten_addr = {listen}\nunix_socket_dir =\n"
            f"auth_type = trust\nauth_file = {users}\npool_mode = {mode}\n"
            f"default_pool_size = {_POOL}\nlog_connections = 0\nlog_disconnections = 0\n"
            "log_stats = 0\n"
        )
        config.write_text(settings)
        for path in (Path(name), users, config):
            os.chown(path, user.uid, user.gid)
        is_up = False
        while not is_up:
            with socket.create_server(("127.0.0.1", 0)) as free:
                port = free.getsockname()[1]
            config.write_text(f"{settings}listen_port = {port}\n")
            process = stack.enter_context(
                _stopped_at_the_end(
                    subprocess.Popen(
                        [program, config], stderr=subprocess.PIPE, text=True, **user.subprocess_args
                    )
                )
            )
            is_up = _starts(process)
        yield make_conninfo(addresses[0], host="127.0.0.1", port=port)


@contextmanager
def _stopped_at_the_end(process: subprocess.Popen[str]) -> Iterator[subprocess.Popen[str]]:
    try:
        yield process
    finally:
        process.terminate()
        process.communicate(timeout=_STOP_S)


def _starts(process: subprocess.Popen[str]) -> bool:
    """Return once it serves, or False if somebody else has taken its port meanwhile."""
    assert process.stderr is not None
    said = ""
    while line := process.stderr.readline():
        said += line
        if "process up" in line:
            return True
    assert "in use" in said, f"pgbouncer did not start: {said}"
    return False
