"""One embedded Postgres, with its defaults and durable; a fresh database for each measurement."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path

import asyncpg
import psutil
import psycopg
from psycopg.conninfo import conninfo_to_dict

from automatch.postgres.addresses import database_address, login_passwords, socket_folder
from automatch.postgres.binaries import find_binaries
from automatch.postgres.embedded import EmbeddedPostgres
from automatch.settings import Settings
from automatch.settings.database import PostgresSettings
from automatch.settings.secrets import load_or_create
from automatch.store.installation.migrate import migrate
from tests.support.postgres import (
    Database,
    TestCluster,
    create_database,
    drop_database,
    open_every_school,
    remove_home,
)

_serial = itertools.count()


@dataclass(frozen=True)
class Cost:
    """What a measurement took of the machine."""

    seconds: float
    client_cpu_s: float
    """Of this process."""
    server_cpu_s: float
    """Of Postgres, its background processes too."""
    wal_bytes: int
    commits: int
    """Of transactions that wrote: each waits for the disk."""


class Server:
    """Gives out databases; the tables of all parts are made in templates that are cloned."""

    def __init__(self, cluster: TestCluster) -> None:
        self._cluster = cluster
        pid_file = cluster.settings.home / "postgres" / "data" / "postmaster.pid"
        self._postmaster = psutil.Process(int(pid_file.read_text().splitlines()[0]))

    @property
    def settings(self) -> Settings:
        return self._cluster.settings

    @property
    def version(self) -> str:
        with psycopg.connect(self._cluster.address.owner) as conn:
            row = conn.execute("select current_setting('server_version')").fetchone()
        assert row is not None
        return str(row[0]).split()[0]

    def create(self, name: str, template: str = "migrated") -> Database:
        """Clone a database for good: a template for others, or one that grows."""
        create_database(self._cluster, name, template)
        return self._cluster.address.named(name)

    def drop(self, name: str) -> None:
        drop_database(self._cluster, name)

    @contextmanager
    def cloned(self, template: str) -> Iterator[Database]:
        """Give a new copy of a template, after a checkpoint."""
        name = f"run_{next(_serial)}"
        database = self.create(name, template)
        self.checkpoint()
        try:
            yield database
        finally:
            self.drop(name)

    def checkpoint(self) -> None:
        """Write all dirty pages, so that no run pays for an earlier one."""
        with psycopg.connect(self._cluster.address.owner, autocommit=True) as conn:
            conn.execute("checkpoint")

    @contextmanager
    def counting(self) -> Iterator[list[Cost]]:
        """Count what the block takes; the answer is in the list once the block is left."""
        answer: list[Cost] = []
        before, server_cpu = self._log_position(), self._cpu_s()
        began, cpu = time.monotonic(), time.process_time()
        yield answer
        seconds, client_cpu = time.monotonic() - began, time.process_time() - cpu
        after, server_cpu = self._log_position(), self._cpu_s() - server_cpu
        with psycopg.connect(self._cluster.address.owner) as conn:
            row = conn.execute(
                "select %s::pg_lsn - %s::pg_lsn,"
                " pg_walfile_name(%s::pg_lsn + 1), pg_walfile_name(%s)",
                [after, before, before, after],
            ).fetchone()
        assert row is not None
        wal_bytes, *segments = row
        commits = self._count_commits(segments, before, after)
        answer.append(Cost(seconds, client_cpu, server_cpu, int(wal_bytes), commits))

    @property
    def socket(self) -> Path:
        return socket_folder(self.settings.home)

    def pgbench(self, database: Database, script: str, *options: str) -> str:
        """Run a script of pgbench as the owner; return what it reports."""
        with tempfile.NamedTemporaryFile("w", suffix=".sql") as file:
            file.write(script)
            file.flush()
            return subprocess.run(
                [
                    str(find_binaries() / "bin" / "pgbench"),
                    *("--no-vacuum", "--protocol", "prepared", "--file", file.name),
                    *options,
                    database.owner,
                ],
                check=True,
                capture_output=True,
                text=True,
            ).stdout

    def _cpu_s(self) -> float:
        # A process that has ended is counted with its parent.
        times = []
        for process in self._postmaster.children(recursive=True):
            with contextlib.suppress(psutil.NoSuchProcess):
                times.append(process.cpu_times())
        own = self._postmaster.cpu_times()
        return sum(each.user + each.system for each in [*times, own]) + (
            own.children_user + own.children_system
        )

    def _log_position(self) -> str:
        with psycopg.connect(self._cluster.address.owner, autocommit=True) as conn:
            row = conn.execute("select pg_current_wal_flush_lsn()").fetchone()
        assert row is not None
        return str(row[0])

    def _count_commits(self, segments: list[str], start: str, end: str) -> int:
        # Named, or pg_waldump may take an empty one to learn of what size they are.
        folder = self.settings.home / "postgres" / "data" / "pg_wal"
        report = subprocess.run(
            [
                str(find_binaries() / "bin" / "pg_waldump"),
                *("--stats=record", "--rmgr=Transaction", "--start", start, "--end", end),
                *(str(folder / segment) for segment in segments),
            ],
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        return sum(int(count) for count in re.findall(r"Transaction/COMMIT\s+(\d+)", report))


@asynccontextmanager
async def running_server() -> AsyncIterator[Server]:
    """Start a cluster in a temporary folder, with a migrated template in it."""
    folder = Path(tempfile.mkdtemp(prefix="automatch-bench-"))
    home = folder / "home"
    # Room for forty workers; everything else is as shipped.
    postgres_settings = PostgresSettings(max_connections=200)
    settings = Settings(home=home, database_url=None, postgres=postgres_settings)
    secrets = load_or_create(home)
    try:
        async with EmbeddedPostgres(settings, secrets) as postgres:
            supervising = asyncio.create_task(postgres.supervise())
            address = Database(
                owner=database_address(settings, secrets, "owner"),
                api=database_address(settings, secrets, "api"),
                worker=database_address(settings, secrets, "worker"),
                schedule=database_address(settings, secrets, "schedule"),
            )
            cluster = TestCluster(settings, secrets, address)
            create_database(cluster, "migrated", "template1")
            create_database(cluster, "empty", "template1")
            await migrate(
                address.named("migrated").owner,
                login_passwords(secrets),
            )
            with psycopg.connect(address.named("migrated").owner, autocommit=True) as conn:
                open_every_school(conn)
            with psycopg.connect(address.owner, autocommit=True) as conn:
                # A checkpoint would recycle what pg_waldump reads after a run.
                conn.execute("alter system set wal_keep_size = '4GB'")
                conn.execute("select pg_reload_conf()")
            try:
                yield Server(cluster)
            finally:
                supervising.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await supervising
    finally:
        remove_home(home)
        shutil.rmtree(folder, ignore_errors=True)


async def connect(database: Database) -> asyncpg.Connection:
    """Connect as the owner with asyncpg, which does not know libpq's form of an address."""
    parts = conninfo_to_dict(database.owner)
    return await asyncpg.connect(
        host=parts["host"],
        port=int(parts["port"] or 5432),
        user=parts["user"],
        password=parts["password"],
        database=parts["dbname"],
    )
