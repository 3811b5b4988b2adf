"""Copies of data folders that were made once: `initdb` waits seconds for the disk."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from secrets import token_hex
from typing import Any
from unittest.mock import patch

import psycopg
import pytest

from automatch.postgres.addresses import login_passwords
from automatch.postgres.binaries import make_state_folder
from automatch.postgres.cluster import STATE_FOLDER, prepare_cluster
from automatch.postgres.os_user import OsUser, find_os_user
from automatch.settings.database import PostgresSettings
from automatch.settings.secrets import load_or_create
from automatch.store.installation.migrate import migrate
from tests.support.postgres import (
    open_every_school,
    remove_home,
    running_cluster,
    set_quick_passwords,
)

_USER = PostgresSettings().system_user
_MEMORY = Path("/dev/shm")
_ENOUGH_BYTES = 12 * 1024**3

SHARED_HOMES = "TESTS_SHARED_HOMES"
"""Names, for a run of pytest in a test, the folder in which the run around it has them."""


@dataclass(frozen=True)
class StoredHome:
    """The secrets and the cluster of a data folder in which nothing runs."""

    folder: Path

    def copy_to(self, home: Path) -> Path:
        """Make a data folder, which `remove_home` takes away; return its path."""
        load_or_create(home)
        shutil.copy2(self.folder / "secrets.json", home)
        user = find_os_user(_USER)
        postgres = home / "postgres"
        if (outside := _find_outside(is_root=user.is_other)) is not None:
            postgres.symlink_to(outside / f"{os.getpid()}-{token_hex(8)}")
        place = postgres.resolve()
        place.mkdir(mode=0o700)
        os.chown(place, user.uid, user.gid)
        # With its owners, which shutil does not keep.
        _run("cp", "-a", "--reflink=auto", self.folder / "data", place)
        return home

    def keep(self, home: Path) -> None:
        """Move the secrets and the cluster of a data folder here."""
        partial = self.folder.with_suffix(".partial")
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir()
        shutil.copy2(home / "secrets.json", partial)
        _run("cp", "-a", home / "postgres" / "data", partial)
        partial.rename(self.folder)


@cache
def _find_outside(*, is_root: bool) -> Path | None:
    """Return where clusters lie if not in their data folders: in memory, where that has room.

    A cluster has more than a thousand files, which are copied and removed for many tests.
    """
    if not _has_memory():
        if is_root:
            make_state_folder(STATE_FOLDER)
        return STATE_FOLDER if is_root else None
    folder = _MEMORY / f"automatch-tests-{os.geteuid()}"
    make_state_folder(folder) if is_root else folder.mkdir(mode=0o700, exist_ok=True)
    for left in folder.iterdir():
        # Of a run that was killed.
        if not Path("/proc", left.name.partition("-")[0]).exists():
            shutil.rmtree(left, ignore_errors=True)
    return folder


def _has_memory() -> bool:
    if sys.platform != "linux" or not os.access(_MEMORY, os.W_OK):
        return False
    lines = Path("/proc/meminfo").read_text().splitlines()
    available = next(1024 * int(line.split()[1]) for line in lines if "MemAvailable" in line)
    return min(available, shutil.disk_usage(_MEMORY).free) > _ENOUGH_BYTES


def _run(*command: str | Path) -> None:
    subprocess.run(command, check=True, timeout=100)


@contextmanager
def _made_once(
    factory: pytest.TempPathFactory, name: str
) -> Iterator[tuple[StoredHome, Path | None]]:
    """Give what all processes of this run share, and a path to make it at if nobody has yet."""
    folder = factory.getbasetemp()
    if SHARED_HOMES in os.environ:
        folder = Path(os.environ[SHARED_HOMES])
    elif "PYTEST_XDIST_WORKER" in os.environ:
        folder = folder.parent
    stored = StoredHome(folder / f"home-{name}")
    home = factory.mktemp(name) / "home"
    with (folder / f"home-{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        try:
            yield stored, None if stored.folder.exists() else home
        finally:
            remove_home(home)


def _quickly(run: Any) -> Any:
    def run_quickly(user: OsUser, *command: str | Path, **more: Any) -> Any:
        is_initdb = Path(command[0]).name == "initdb"
        more_arguments = ["--no-sync", "--set=scram_iterations=1"] if is_initdb else []
        return run(user, *command, *more_arguments, **more)

    return run_quickly


@pytest.fixture(scope="session")
def created_home(tmp_path_factory: pytest.TempPathFactory) -> StoredHome:
    """Give a data folder after its first start: its secrets, and a cluster that is empty."""
    with _made_once(tmp_path_factory, "created") as (stored, home):
        if home is not None:
            with patch.object(OsUser, "run", _quickly(OsUser.run)):
                prepare_cluster(home, _USER, load_or_create(home).owner_password)
            stored.keep(home)
    return stored


@pytest.fixture(scope="session")
async def migrated_home(
    anyio_backend: str, created_home: StoredHome, tmp_path_factory: pytest.TempPathFactory
) -> StoredHome:
    """Give a data folder whose database is migrated."""
    assert anyio_backend == "asyncio"
    with _made_once(tmp_path_factory, "migrated") as (stored, home):
        if home is not None:
            async with running_cluster(created_home.copy_to(home)) as cluster:
                await migrate(
                    cluster.address.owner,
                    login_passwords(cluster.secrets),
                )
                with psycopg.connect(cluster.address.owner, autocommit=True) as conn:
                    open_every_school(conn)
                    set_quick_passwords(conn, cluster.secrets)
            stored.keep(home)
    return stored
