"""`pg_dump` and `pg_restore`: which of those on this machine are used, and how they are called."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

from psycopg.conninfo import conninfo_to_dict, make_conninfo

from automatch.errors.store import BackupError, EmbeddedPostgresError
from automatch.postgres.binaries import find_binaries

if TYPE_CHECKING:
    from collections.abc import Sequence

_VERSION = re.compile(r"\) (\d+)")


class ClientPrograms:
    """The programs of one installation of PostgreSQL, for one database.

    Args:
        server: the major version of its server, which the programs may not be older than.

    Raises:
        BackupError: there are none, or only older ones.
    """

    def __init__(self, address: str, server: int) -> None:
        self._folder = _find(server)
        values = conninfo_to_dict(address)
        # In a file or in the arguments others could read it.
        password = str(values.pop("password", "") or "")
        self._conninfo = make_conninfo("", **values)
        self._env = os.environ | ({"PGPASSWORD": password} if password else {})

    def start(
        self,
        program: str,
        *arguments: str,
        connected: bool = True,
        stdin: int | None = None,
        stdout: int | None = None,
    ) -> subprocess.Popen[bytes]:
        """Start a program, whose stderr is to be read."""
        database = [f"--dbname={self._conninfo}"] if connected else []
        return subprocess.Popen(  # noqa: S603 - a list without a shell, with arguments of our own
            [str(self._folder / program), *arguments, *database],
            env=self._env,
            stdin=stdin,
            stdout=stdout,
            stderr=subprocess.PIPE,
        )


def _find(server: int) -> Path:
    found: list[tuple[int, Path]] = []
    # Its own programs know a server best; those that come with Auto-Match are the newest.
    for folder in _folders():
        version = _version([str(folder / "pg_dump"), "--version"])
        if version is not None and version >= server:
            return folder
        found += [(version, folder)] if version is not None else []
    have = f"; the newest here is of version {max(found)[0]}" if found else ""
    raise BackupError(
        f"The server is PostgreSQL {server}, which takes a pg_dump of that version or a later one"
        f"{have}. Install the package postgresql-client-{server}."
    )


def _folders() -> list[Path]:
    on_path = shutil.which("pg_dump")
    folders = [Path(on_path).parent] if on_path else []
    try:
        return [*folders, find_binaries() / "bin"]
    except EmbeddedPostgresError:
        return folders


def _version(command: Sequence[str]) -> int | None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)  # noqa: S603
    except (OSError, subprocess.SubprocessError):
        return None
    match = _VERSION.search(done.stdout)
    return int(match[1]) if match else None
