"""Creates the files of the embedded cluster, completely or not at all.

The folder `postgres` of the data folder holds `data` (the cluster), `run` (the socket) and `log`.
Under root the server runs as an unprivileged user. If that user cannot enter the data folder,
because a folder above it is closed, the files go to `/var/lib/automatch` and `postgres` becomes a
link to them.
"""

from __future__ import annotations

import hashlib
import os
import pwd
import secrets
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from automatch.errors.store import EmbeddedPostgresError
from automatch.postgres.addresses import SUPERUSER, socket_fits
from automatch.postgres.binaries import (
    MAJOR,
    find_binaries,
    make_state_folder,
    reachable_binaries,
)
from automatch.postgres.os_user import find_os_user
from automatch.settings.data_dir import is_our_data_dir, sync_folder

if TYPE_CHECKING:
    from automatch.postgres.os_user import OsUser

STATE_FOLDER = Path("/var/lib/automatch")

_PARTIAL = ".partial"


@dataclass(frozen=True)
class Cluster:
    """A cluster on disk, ready to be served."""

    folder: Path
    """A path without links, because the server's user may not be able to enter the data folder."""
    binaries: Path
    socket_folder: Path
    os_user: OsUser

    @property
    def data(self) -> Path:
        """Postgres's data directory; it exists only when it is complete."""
        return self.folder / "data"

    @property
    def log_folder(self) -> Path:
        """Created by the server."""
        return self.folder / "log"

    @property
    def name(self) -> str:
        """Part of every process title of this cluster, by which its processes are found."""
        return f"automatch-{_digest(self.data)}"


def prepare_cluster(
    data_dir: Path,
    system_user: str,
    superuser_password: str,
    state_folder: Path = STATE_FOLDER,
    *,
    any_version: bool = False,
) -> Cluster:
    """Find the cluster of a data folder, or create it; the caller holds the lock file.

    With *any_version* it may be one that these programs cannot serve.

    Raises:
        EmbeddedPostgresError: the cluster cannot be used; the message has the reason and a remedy.
    """
    os_user = find_os_user(system_user)
    try:
        folder = _place(data_dir, os_user, state_folder)
        binaries = reachable_binaries(find_binaries(), os_user, state_folder)
        cluster = Cluster(folder, binaries, _prepare_socket_folder(folder, os_user), os_user)
        _remove_partials(folder)
        _finish_upgrade(cluster)
        if not cluster.data.exists():
            make_data(cluster, superuser_password).rename(cluster.data)
            sync_folder(cluster.folder)
        if not any_version:
            _check_version(cluster)
    except OSError as exc:
        raise EmbeddedPostgresError(
            f"The database folder of {data_dir} cannot be used: {exc}"
        ) from exc
    return cluster


def _place(data_dir: Path, os_user: OsUser, state_folder: Path) -> Path:
    link = data_dir / "postgres"
    if link.is_symlink() and not link.exists():
        raise EmbeddedPostgresError(
            f"{link} points to {link.readlink()}, which is missing; restore that folder, or remove "
            "the link to begin with an empty database."
        )
    if link.exists():
        _check_existing(link.resolve(), os_user)
        return link.resolve()
    if not os_user.is_other:
        link.mkdir(mode=0o700)
        return link.resolve()
    if is_our_data_dir(data_dir) and data_dir.stat().st_uid == os.geteuid():
        os.chown(data_dir, -1, os_user.gid)
        data_dir.chmod(0o710)
    link.mkdir(mode=0o700)
    os.chown(link, os_user.uid, os_user.gid)
    if os_user.reaches(link.resolve()):
        return link.resolve()
    link.rmdir()
    make_state_folder(state_folder)
    folder = state_folder / secrets.token_hex(8)
    folder.mkdir(mode=0o700)
    os.chown(folder, os_user.uid, os_user.gid)
    link.symlink_to(folder)
    return folder.resolve()


def _check_existing(folder: Path, os_user: OsUser) -> None:
    uid = folder.stat().st_uid
    if uid != os_user.uid:
        raise EmbeddedPostgresError(
            f"The database folder {folder} belongs to the user {_user_name(uid)}; run Auto-Match "
            "as that user, or as root with AUTOMATCH_POSTGRES__SYSTEM_USER naming it."
        )
    if not os_user.reaches(folder):
        raise EmbeddedPostgresError(
            f"The user {os_user.name} cannot enter {folder}; "
            "let it pass through the folders above, or set AUTOMATCH_HOME to another folder."
        )


def _user_name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def _prepare_socket_folder(folder: Path, os_user: OsUser) -> Path:
    run = folder / "run"
    if socket_fits(run):
        if run.is_symlink():
            run.unlink()
        os_user.make_folder(run)
        return run
    short = Path(tempfile.gettempdir()) / f"automatch-{_digest(folder)}"
    os_user.make_folder(short)
    if run.is_symlink():
        run.unlink()
    elif run.exists():
        shutil.rmtree(run)
    run.symlink_to(short)
    return short


def _digest(path: Path) -> str:
    return hashlib.sha256(os.fsencode(path)).hexdigest()[:16]


def _remove_partials(folder: Path) -> None:
    for left in folder.glob(f"data.*{_PARTIAL}"):
        shutil.rmtree(left, ignore_errors=True)


def make_data(cluster: Cluster, superuser_password: str) -> Path:
    """Make a data directory; return it under a name by which it is removed if nobody takes it."""
    temp = cluster.folder / f"data.{secrets.token_hex(4)}{_PARTIAL}"
    reader, writer = os.pipe()
    # initdb opens this pipe again as /dev/stdin, so the server's user must own it. Through a pipe,
    # the password is in no file and in no list of processes.
    os.fchown(reader, cluster.os_user.uid, cluster.os_user.gid)
    with os.fdopen(reader, "rb") as password:
        with os.fdopen(writer, "w") as file:
            file.write(superuser_password + "\n")
        done = cluster.os_user.run(
            cluster.binaries / "bin" / "initdb",
            f"--pgdata={temp}",
            f"--username={SUPERUSER}",
            "--pwfile=/dev/stdin",
            "--auth=scram-sha-256",
            "--data-checksums",
            "--encoding=UTF8",
            "--locale=C",
            "--locale-provider=builtin",
            "--builtin-locale=C.UTF-8",
            stdin=password,
        )
    if done.returncode != 0:
        shutil.rmtree(temp, ignore_errors=True)
        raise EmbeddedPostgresError(
            f"The database could not be created in {cluster.folder}: {done.stderr.strip()[-1000:]}"
        )
    return temp


def data_version(data: Path) -> int:
    """Return the major version of PostgreSQL that serves a data directory."""
    return int((data / "PG_VERSION").read_text())


def kept_data(cluster: Cluster) -> list[Path]:
    """Return what upgrades have kept, or were interrupted with."""
    return sorted(path for path in cluster.folder.glob("data.*") if path.suffix[1:].isdigit())


def exchange_data(cluster: Cluster, made: Path) -> None:
    """Put an upgraded data directory in place, and keep the other one under its version.

    Interrupted in the middle, the next start finishes it.
    """
    ready = cluster.folder / f"data.{MAJOR}"
    # Of one that was interrupted before the old one was moved.
    shutil.rmtree(ready, ignore_errors=True)
    made.rename(ready)
    cluster.data.rename(cluster.folder / f"data.{data_version(cluster.data)}")
    ready.rename(cluster.data)
    sync_folder(cluster.folder)


def _finish_upgrade(cluster: Cluster) -> None:
    ready = cluster.folder / f"data.{MAJOR}"
    if not cluster.data.exists() and ready.exists():
        ready.rename(cluster.data)
        sync_folder(cluster.folder)


def _check_version(cluster: Cluster) -> None:
    made_with = data_version(cluster.data)
    if made_with < MAJOR:
        raise EmbeddedPostgresError(
            f"The database in {cluster.data} was made by PostgreSQL {made_with}, and this is "
            f"{MAJOR}: run `automatch upgrade`, which keeps the old one."
        )
    if made_with > MAJOR:
        raise EmbeddedPostgresError(
            f"The database in {cluster.data} was made by PostgreSQL {made_with}, and this is "
            f"{MAJOR}; install the Auto-Match that served it, or a later one."
        )
