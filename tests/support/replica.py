"""A streaming replica of an embedded server, to be promoted."""

from __future__ import annotations

import asyncio
import tempfile
from asyncio.subprocess import Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import psycopg
from psycopg import sql

from automatch.postgres.cluster import Cluster, prepare_cluster
from automatch.postgres.postmaster import end, server_settings, spawn
from automatch.settings import Settings
from automatch.settings.database import PostgresSettings
from automatch.settings.secrets import load_or_create
from tests.support import kept_pools
from tests.support.waiting import wait_until

_UNSAFE = {"fsync": "off", "full_page_writes": "off"}
"""A crash of the machine may break both servers; that is not tried here."""
_SETTINGS = PostgresSettings(shared_buffers_mb=64, max_connections=60)


@dataclass(frozen=True)
class Server:
    """One of the two servers."""

    cluster: Cluster
    process: Process
    address: str
    """Of the owner, this server alone."""

    def run(self, statement: str) -> None:
        """Execute a statement outside of a transaction."""
        with psycopg.connect(self.address, autocommit=True) as conn:
            conn.execute(sql.SQL(statement))  # type: ignore[arg-type]

    def column(self, query: str) -> list[object]:
        """Return the first column of a query."""
        with psycopg.connect(self.address, autocommit=True) as conn:
            return [row[0] for row in conn.execute(sql.SQL(query))]  # type: ignore[arg-type]


@dataclass(frozen=True)
class Pair:
    """A primary and its standby, for which its commits may wait."""

    primary: Server
    standby: Server

    @property
    def address(self) -> str:
        """Of the owner, both servers; nothing says which of them to take."""
        host, *_ = self.primary.address.rpartition("&port=")
        second = self.standby.cluster.socket_folder
        return f"{host},{second}&port=5432,5432"


@asynccontextmanager
async def replicated(home: Path, *, synchronous: bool = True) -> AsyncIterator[Pair]:
    """Serve the cluster of a data folder, and a replica of it, until left."""
    secrets = load_or_create(home)
    system_user = Settings(home=home).postgres.system_user
    cluster = prepare_cluster(home, system_user, secrets.owner_password)
    folder = cluster.folder / "replica"
    cluster.os_user.make_folder(folder)
    copy = replace(cluster, folder=folder, socket_folder=folder / "run")
    cluster.os_user.make_folder(copy.socket_folder)

    def address(of: Cluster) -> str:
        return (
            f"postgresql://postgres:{secrets.owner_password}@/postgres"
            f"?host={of.socket_folder}&port=5432"
        )

    async with _serving(cluster) as process:
        primary = Server(cluster, process, address(cluster))
        await asyncio.to_thread(_wait_for, primary, "select true")
        done = await asyncio.to_thread(
            cluster.os_user.run,
            cluster.binaries / "bin" / "pg_basebackup",
            *("--dbname", primary.address, "--pgdata", copy.data),
            *("--write-recovery-conf", "--checkpoint=fast", "--no-sync"),
        )
        assert done.returncode == 0, done.stderr
        async with _serving(copy) as copy_process:
            standby = Server(copy, copy_process, address(copy))
            await asyncio.to_thread(_wait_for, standby, "select pg_is_in_recovery()")
            if synchronous:
                # Only now: the replica would have copied it, and wait for one of its own.
                primary.run("alter system set synchronous_standby_names = '*'")
                primary.run("select pg_reload_conf()")
                await asyncio.to_thread(
                    _wait_for, primary, "select sync_state = 'sync' from pg_stat_replication"
                )
            try:
                yield Pair(primary, standby)
            finally:
                await kept_pools.close_all()


@asynccontextmanager
async def serving_again(server: Server) -> AsyncIterator[Server]:
    """Serve a replica that was killed again, until left."""
    async with _serving(server.cluster) as process:
        again = replace(server, process=process)
        await asyncio.to_thread(_wait_for, again, "select pg_is_in_recovery()")
        yield again


@asynccontextmanager
async def _serving(cluster: Cluster) -> AsyncIterator[Process]:
    with tempfile.TemporaryFile() as errors:
        process = await spawn(cluster, server_settings(cluster, _SETTINGS) | _UNSAFE, errors)
        try:
            yield process
        finally:
            await end(process)


def _wait_for(server: Server, query: str) -> None:
    def is_true() -> bool:
        assert server.process.returncode is None, "Postgres did not start"
        try:
            return server.column(query) == [True]
        except psycopg.OperationalError:
            return False

    wait_until(is_true, query)
