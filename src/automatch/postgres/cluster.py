"""The embedded cluster's files: where they lie, and how they come into being whole or not at all.

`home/postgres` holds `data` (the cluster), `run` (the socket) and `log`. Under root the server
runs as an unprivileged user. When that user cannot enter the data folder, because a folder above
it is closed, nothing is opened: the files go to `/var/lib/automatch` and `home/postgres` becomes a
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
from automatch.postgres.binaries import find_binaries, make_state_folder, reachable_binaries
from automatch.postgres.os_user import find_owner
from automatch.settings.data_dir import made_by_us

if TYPE_CHECKING:
    from automatch.postgres.os_user import Owner

STATE_FOLDER = Path("/var/lib/automatch")

_PARTIAL = ".partial"


@dataclass(frozen=True)
class Cluster:
    """A cluster on disk, ready to be served."""

    folder: Path
    """Free of links: what the server's user, who may not enter the data folder, is given."""
    binaries: Path
    socket_folder: Path
    owner: Owner

    @property
    def data(self) -> Path:
        """What Postgres calls its data directory; missing until it is complete."""
        return self.folder / "data"

    @property
    def log_folder(self) -> Path:
        """Made by the server."""
        return self.folder / "log"

    @property
    def name(self) -> str:
        """Shown in every process title of this cluster, which tells them from others' by it."""
        return f"automatch-{_digest(self.data)}"


def prepare_cluster(
    home: Path, system_user: str, superuser_password: str, state_folder: Path = STATE_FOLDER
) -> Cluster:
    """Find the cluster of a data folder, or make it; the caller holds the instance lock.

    Raises:
        EmbeddedPostgresError: with the reason and what to do.
    """
    owner = find_owner(system_user)
    try:
        folder = _place(home, owner, state_folder)
        binaries = reachable_binaries(find_binaries(), owner, state_folder)
        cluster = Cluster(folder, binaries, _prepare_socket_folder(folder, owner), owner)
        _remove_partials(folder)
        if not cluster.data.exists():
            _initialise(cluster, superuser_password)
        _check_version(cluster)
    except OSError as exc:
        raise EmbeddedPostgresError(f"The database folder of {home} cannot be used: {exc}") from exc
    return cluster


def _place(home: Path, owner: Owner, state_folder: Path) -> Path:
    link = home / "postgres"
    if link.is_symlink() and not link.exists():
        raise EmbeddedPostgresError(
            f"{link} points to {link.readlink()}, which is missing; restore that folder, or remove "
            "the link to begin with an empty database."
        )
    if link.exists():
        _check_existing(link.resolve(), owner)
        return link.resolve()
    if not owner.is_other:
        link.mkdir(mode=0o700)
        return link.resolve()
    if made_by_us(home) and home.stat().st_uid == os.geteuid():
        os.chown(home, -1, owner.gid)
        home.chmod(0o710)
    link.mkdir(mode=0o700)
    os.chown(link, owner.uid, owner.gid)
    if owner.reaches(link.resolve()):
        return link.resolve()
    link.rmdir()
    make_state_folder(state_folder)
    folder = state_folder / secrets.token_hex(8)
    folder.mkdir(mode=0o700)
    os.chown(folder, owner.uid, owner.gid)
    link.symlink_to(folder)
    return folder.resolve()


def _check_existing(folder: Path, owner: Owner) -> None:
    uid = folder.stat().st_uid
    if uid != owner.uid:
        raise EmbeddedPostgresError(
            f"The database folder {folder} belongs to the user {_user_name(uid)}; run Auto-Match "
            "as that user, or as root with AUTOMATCH_POSTGRES__SYSTEM_USER naming it."
        )
    if not owner.reaches(folder):
        raise EmbeddedPostgresError(
            f"The user {owner.name} cannot enter {folder}; "
            "let it pass through the folders above, or set AUTOMATCH_HOME to another folder."
        )


def _user_name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def _prepare_socket_folder(folder: Path, owner: Owner) -> Path:
    run = folder / "run"
    if socket_fits(run):
        if run.is_symlink():
            run.unlink()
        owner.make_folder(run)
        return run
    short = Path(tempfile.gettempdir()) / f"automatch-{_digest(folder)}"
    owner.make_folder(short)
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


def _initialise(cluster: Cluster, superuser_password: str) -> None:
    temp = cluster.folder / f"data.{secrets.token_hex(4)}{_PARTIAL}"
    reader, writer = os.pipe()
    # The server's user opens this pipe anew as /dev/stdin, so it must own it. Through a pipe the
    # password never lies in a file and never shows in a list of processes.
    os.fchown(reader, cluster.owner.uid, cluster.owner.gid)
    with os.fdopen(reader, "rb") as password:
        with os.fdopen(writer, "w") as file:
            file.write(superuser_password + "\n")
        done = cluster.owner.run(
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
            f"The database could not be made in {cluster.folder}: {done.stderr.strip()[-1000:]}"
        )
    temp.rename(cluster.data)
    descriptor = os.open(cluster.folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _check_version(cluster: Cluster) -> None:
    made_with = (cluster.data / "PG_VERSION").read_text().strip()
    done = cluster.owner.run(cluster.binaries / "bin" / "postgres", "--version")
    if f" {made_with}." not in done.stdout:
        raise EmbeddedPostgresError(
            f"The database in {cluster.data} was made by PostgreSQL {made_with}, and this is "
            f"{done.stdout.strip()}; move it over with pg_dump and pg_restore."
        )
