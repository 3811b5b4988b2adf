"""Real Postgres for tests: one embedded cluster per test process, a database of each test's own."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import shutil
import tempfile
import time
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo

from automatch.postgres.addresses import database_address, login_passwords
from automatch.postgres.cluster import prepare_cluster
from automatch.postgres.postmaster import end, server_settings, spawn
from automatch.settings import Settings
from automatch.settings.database import PostgresSettings
from automatch.settings.secrets import Secrets, load_or_create
from automatch.store.installation.migrate import migrate
from tests.support import kept_pools, reset
from tests.support.waiting import PATIENCE_S, wait_until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from datetime import datetime
    from pathlib import Path

TEST_SERVER = "AUTOMATCH_TEST_DATABASE_URL"
_TEMPLATE = "template_migrated"
_OF_LOGINS = (
    "select count(*) from pg_stat_activity where usename in ('automatch_api', 'automatch_worker')"
)
_serial = itertools.count()
_FOR_TESTS = {
    "fsync": "off",
    "full_page_writes": "off",
    "synchronous_commit": "off",
    # It comes whenever it likes: it would take locks, and change plans, in the middle of a test.
    "autovacuum": "off",
    # Of passwords that are set from here on: the 4,096 of a login took most of the time of it.
    "scram_iterations": "1",
}


@dataclass(frozen=True)
class Database:
    """The addresses of one database, for each of the four logins."""

    owner: str
    api: str
    worker: str
    schedule: str

    def named(self, name: str) -> Database:
        """Return the addresses of another database of the cluster."""
        return Database(*(make_conninfo(dsn, dbname=name) for dsn in self._all))

    @property
    def _all(self) -> tuple[str, str, str, str]:
        return self.owner, self.api, self.worker, self.schedule


@dataclass(frozen=True)
class TestCluster:
    """The cluster that all tests of one process share."""

    __test__ = False

    settings: Settings
    secrets: Secrets
    address: Database
    """Of the database `postgres`, which tests leave alone."""


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    """Run the tests that are marked with `anyio` on asyncio."""
    return "asyncio"


@pytest.fixture(scope="session")
def home_of_cluster(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Path]:
    """Give a data folder, and take away what root's cluster keeps outside of it."""
    home = tmp_path_factory.mktemp("cluster") / "home"
    if TEST_SERVER not in os.environ:
        request.getfixturevalue("created_home").copy_to(home)
    yield home
    remove_home(home)


def remove_home(home: Path) -> None:
    """Remove a data folder together with the cluster that lies elsewhere."""
    for part in (home / "postgres" / "run", home / "postgres"):
        if part.is_symlink():
            shutil.rmtree(part.resolve(), ignore_errors=True)
    shutil.rmtree(home, ignore_errors=True)


@pytest.fixture(scope="session")
async def cluster(anyio_backend: str, home_of_cluster: Path) -> AsyncIterator[TestCluster]:
    """Start the embedded Postgres once per test process; sync tests may ask for it too.

    Where `AUTOMATCH_TEST_DATABASE_URL` names a server by a superuser's address, that one is used.
    """
    assert anyio_backend == "asyncio"
    if address := os.environ.get(TEST_SERVER):
        yield _foreign_cluster(address, home_of_cluster)
        await kept_pools.close_all()
    else:
        async with running_cluster(home_of_cluster) as cluster:
            yield cluster
            await kept_pools.close_all()


def _foreign_cluster(address: str, home: Path) -> TestCluster:
    # Its databases, and the passwords of its roles, are the same for everybody.
    if int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1")) > 1:
        pytest.fail(f"tests on the server of {TEST_SERVER} run in one process: -n 0")
    secrets = load_or_create(home)
    return TestCluster(
        Settings(home=home, database_url=address),
        secrets,
        Database(
            address,
            *(
                make_conninfo(address, user=login, password=password)
                for login, password in login_passwords(secrets).items()
            ),
        ),
    )


@asynccontextmanager
async def running_cluster(home: Path) -> AsyncIterator[TestCluster]:
    """Serve a new embedded cluster until left, which a crash of the machine may break.

    `EmbeddedPostgres` would refuse that; waiting for the disk at every commit takes most of the
    time of a test. Nothing is vacuumed and no statistics are collected unless a test does it.
    """
    settings = Settings(
        home=home,
        database_url=None,
        postgres=PostgresSettings(shared_buffers_mb=64, max_connections=100),
    )
    secrets = load_or_create(home)
    folders = prepare_cluster(home, settings.postgres.system_user, secrets.owner_password)
    options = server_settings(folders, settings.postgres)
    with tempfile.TemporaryFile() as errors:
        process = await spawn(folders, options | _FOR_TESTS, errors)
        try:
            address = Database(
                owner=database_address(settings, secrets, "owner"),
                api=database_address(settings, secrets, "api"),
                worker=database_address(settings, secrets, "worker"),
                schedule=database_address(settings, secrets, "schedule"),
            )
            await _wait_ready(address.owner, process)
            yield TestCluster(settings, secrets, address)
        finally:
            await end(process)


async def _wait_ready(address: str, process: asyncio.subprocess.Process) -> None:
    while True:
        assert process.returncode is None, "Postgres did not start"
        try:
            psycopg.connect(address).close()
        except psycopg.OperationalError:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(0.05):
                    await process.wait()
        else:
            return


@pytest.fixture(scope="session")
async def template(anyio_backend: str, cluster: TestCluster) -> str:
    """Migrate a database once, to be cloned; nothing may connect to it afterwards."""
    assert anyio_backend == "asyncio"
    create_database(cluster, _TEMPLATE, template="template1")
    await migrate(
        cluster.address.named(_TEMPLATE).owner,
        login_passwords(cluster.secrets),
        # An earlier run of the tests had other ones, on a server that is not theirs.
        take_over=True,
    )
    with psycopg.connect(cluster.address.named(_TEMPLATE).owner, autocommit=True) as conn:
        set_quick_passwords(conn, cluster.secrets)
        # As autovacuum would have done; it is the only table long enough.
        conn.execute("analyze automatch.access_rules")
        open_every_school(conn)
        # In many tests one person sends the photos of several.
        conn.execute("update public.match_settings set hold_another_person = false")
    return _TEMPLATE


def set_quick_passwords(conn: psycopg.Connection, secrets: Secrets) -> None:
    """Give the logins the passwords that they have, by a server of `running_cluster`."""
    for login, password in login_passwords(secrets).items():
        conn.execute(
            sql.SQL("alter role {} password {}").format(
                sql.Identifier(login), sql.Literal(password)
            )
        )


def open_every_school(conn: psycopg.Connection) -> None:
    """Make each school that a profile names an open one, so that tests need no membership."""
    conn.execute(
        "create schema if not exists tests;"
        " create function tests.open_school() returns trigger language plpgsql security definer"
        " set search_path = pg_catalog, pg_temp as $$ begin"
        " if new.school is not null then insert into automatch.schools (name, is_open)"
        " values (btrim(new.school), true) on conflict do nothing; end if;"
        " return new; exception when others then return new; end $$;"
        # Before all others, by the order of their names.
        " create trigger a_school_is_open before insert or update of school on public.profiles"
        " for each row execute function tests.open_school();"
    )


class DatabasePool:
    """Migrated databases to use one after the other; each is emptied before the next use."""

    def __init__(self, cluster: TestCluster, template: str) -> None:
        self._cluster = cluster
        self._template = template
        self._idle: list[str] = []
        self._connections: dict[str, psycopg.Connection] = {}
        self._counted_since: dict[str, datetime] = {}
        self._contents: reset.Template | None = None

    def take(self) -> str:
        """Return the name of a database in which there is what a migration leaves."""
        if self._idle:
            return self._idle.pop()
        name = f"test_{next(_serial)}"
        create_database(self._cluster, name, self._template)
        if self._contents is None:
            self._contents = reset.read_template(self._cluster.address.named(name).owner)
        return name

    def give_back(self, name: str) -> None:
        """Empty a database for the next use, or drop it where emptying is not enough."""
        assert self._contents is not None
        before = self._counted_since.pop(name, None)
        try:
            emptied_at = reset.empty(
                self._connection(name), self._contents, before, kept_pools.list_sessions(name)
            )
        except psycopg.Error:
            emptied_at = None
        if emptied_at is not None:
            self._counted_since[name] = emptied_at
            self._idle.append(name)
        else:
            self._close(name)
            kept_pools.forget(name)
            drop_database(self._cluster, name)

    def close(self) -> None:
        """Close all connections."""
        for name in list(self._connections):
            self._close(name)

    def _connection(self, name: str) -> psycopg.Connection:
        """Return the connection that empties a database, a new one if the test has ended it."""
        with contextlib.suppress(KeyError, psycopg.OperationalError):
            self._connections[name].execute("select")
            return self._connections[name]
        self._close(name)
        address = self._cluster.address.named(name).owner
        connection = self._connections[name] = psycopg.connect(address, autocommit=True)
        return connection

    def _close(self, name: str) -> None:
        if connection := self._connections.pop(name, None):
            connection.close()


@pytest.fixture(scope="session")
def database_pool(cluster: TestCluster, template: str) -> Iterator[DatabasePool]:
    """Give the migrated databases that the tests of this process take turns in."""
    pool = DatabasePool(cluster, template)
    yield pool
    pool.close()


@pytest.fixture
def database(cluster: TestCluster, database_pool: DatabasePool) -> Iterator[Database]:
    """Give a migrated database in which nothing happened yet, and which nobody else uses."""
    name = database_pool.take()
    yield cluster.address.named(name)
    database_pool.give_back(name)


@pytest.fixture
async def nobody_connected(anyio_backend: str, cluster: TestCluster) -> None:
    """End the sessions that servers of earlier tests have left for those of later ones."""
    assert anyio_backend == "asyncio"
    await kept_pools.close_all()
    wait_until_logins_are_gone(cluster.address)


def wait_until_logins_are_gone(database: Database) -> None:
    """Return once Postgres has noticed that servers and workers have closed their connections."""
    with psycopg.connect(database.owner, autocommit=True) as conn:
        wait_until(
            lambda: conn.execute(_OF_LOGINS).fetchone() == (0,), "the sessions of logins end"
        )


@pytest.fixture
def blank_database(cluster: TestCluster) -> Iterator[Database]:
    """Give an empty database that nobody has migrated."""
    name = f"test_{next(_serial)}"
    create_database(cluster, name, template="template1")
    yield cluster.address.named(name)
    drop_database(cluster, name)


@pytest.fixture
def dsn(database: Database) -> str:
    """Give the owner's address of a migrated database in which nothing happened yet."""
    return database.owner


def create_database(cluster: TestCluster, name: str, template: str) -> None:
    """Clone a database with its settings and privileges, which `create database` leaves behind."""
    with psycopg.connect(cluster.address.owner, autocommit=True) as connection:
        # A run that was killed leaves its databases on a server that is not its own.
        force_drop(connection, name)
        connection.execute(
            # The other strategy writes all pages into the log, which costs five times as much.
            sql.SQL("create database {} template {} strategy file_copy").format(
                sql.Identifier(name), sql.Identifier(template)
            )
        )
        closed = connection.execute(
            "select datacl is not null from pg_database where datname = %s", [template]
        ).fetchone()
        if template == _TEMPLATE and closed == (True,):
            connection.execute(
                sql.SQL("revoke temporary on database {} from public").format(sql.Identifier(name))
            )
        rows = connection.execute(
            "select unnest(setconfig) from pg_db_role_setting as s"
            " join pg_database as d on d.oid = s.setdatabase"
            " where d.datname = %s and s.setrole = 0",
            [template],
        ).fetchall()
        for (line,) in rows:
            setting, _, value = line.partition("=")
            # A list such as search_path is stored quoted already.
            shown = sql.SQL(value) if setting == "search_path" else sql.Literal(value)
            connection.execute(
                sql.SQL("alter database {} set {} to {}").format(
                    sql.Identifier(name), sql.Identifier(setting), shown
                )
            )


def drop_database(cluster: TestCluster, name: str) -> None:
    """Remove a test's database, whoever is still connected to it."""
    with psycopg.connect(cluster.address.owner, autocommit=True) as connection:
        force_drop(connection, name)


def force_drop(connection: psycopg.Connection, name: str) -> None:
    """Remove a database if there is one, and end its sessions, however long that takes them."""
    statement = sql.SQL("drop database if exists {} with (force)").format(sql.Identifier(name))
    deadline = time.monotonic() + PATIENCE_S
    while True:
        try:
            connection.execute(statement)
        except psycopg.errors.ObjectInUse:
            # Postgres gives them five seconds, in which a busy machine may not come to it.
            if time.monotonic() > deadline:
                raise
        else:
            return
