"""A Postgres set up like a Supabase project, where the role that migrates is no superuser."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID, uuid4

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo
from psycopg.types.json import Jsonb

from automatch.postgres.addresses import login_passwords
from automatch.settings.secrets import Secrets
from automatch.store.installation.migrate import MIGRATIONS, migrate
from tests.support.homes import StoredHome
from tests.support.postgres import Database, force_drop, remove_home, running_cluster

_HERE = Path(__file__).parent
_EMPTY = "template_project"
_MIGRATED = "template_migrated_project"
_serial = itertools.count()


@dataclass(frozen=True)
class SupabaseCluster:
    """The cluster in which the projects of one test process are databases."""

    secrets: Secrets
    admin: str
    """Address of supabase_admin, the superuser whom only Supabase is."""
    address: Database
    """Of the database `postgres`; `owner` is the role `postgres`."""

    def create(self, name: str, template: str) -> Database:
        """Make a database that is a copy of another, and belongs to `postgres`."""
        with psycopg.connect(self.admin, autocommit=True) as conn:
            conn.execute(
                sql.SQL("create database {} template {} strategy file_copy owner postgres").format(
                    sql.Identifier(name), sql.Identifier(template)
                )
            )
        return self.address.named(name)

    def drop(self, name: str) -> None:
        with psycopg.connect(self.admin, autocommit=True) as conn:
            force_drop(conn, name)

    async def migrate(self, database: Database, migrations: Path = MIGRATIONS) -> list[str]:
        """Do what `automatch migrate` does, as `postgres`; return the versions applied."""
        return await migrate(
            database.owner,
            login_passwords(self.secrets),
            migrations=migrations,
        )

    def as_admin(self, database: Database) -> str:
        """Return supabase_admin's address of a project."""
        name = psycopg.conninfo.conninfo_to_dict(database.owner)["dbname"]
        return make_conninfo(self.admin, dbname=str(name))


class AuthServer:
    """What Supabase Auth does with its tables, as its own role."""

    def __init__(self, cluster: SupabaseCluster, project: Database) -> None:
        self._dsn = cluster.as_admin(project)

    def sign_up(self, email: str | None) -> UUID:
        user = uuid4()
        self._run(
            "insert into auth.users (id, aud, role, email, raw_app_meta_data, created_at)"
            " values (%s, 'authenticated', 'authenticated', %s, %s, now())",
            *(user, email, Jsonb({"provider": "email"})),
        )
        return user

    def sign_in(self, user: UUID) -> UUID:
        session = uuid4()
        self._run("insert into auth.sessions (id, user_id) values (%s, %s)", session, user)
        return session

    def users(self) -> list[UUID]:
        with psycopg.connect(self._dsn) as conn:
            return [user for (user,) in conn.execute("select id from auth.users").fetchall()]

    def delete(self, user: UUID) -> None:
        self._run("delete from auth.users where id = %s", user)

    def _run(self, statement: str, *parameters: object) -> None:
        with psycopg.connect(self._dsn) as conn:
            conn.execute("set local role supabase_auth_admin")
            conn.execute(statement.encode(), parameters)


@pytest.fixture(scope="session")
async def supabase_cluster(
    anyio_backend: str, created_home: StoredHome, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[SupabaseCluster]:
    """Start a cluster whose superuser is supabase_admin, with an empty project to copy."""
    assert anyio_backend == "asyncio"
    home = created_home.copy_to(tmp_path_factory.mktemp("supabase") / "home")
    async with running_cluster(home) as plain:
        secrets, address = plain.secrets, plain.address
        admin = _make_roles(address.owner, secrets.owner_password)
        cluster = SupabaseCluster(secrets, admin, address)
        project = cluster.create(_EMPTY, "template0")
        with psycopg.connect(cluster.as_admin(project)) as conn:
            conn.execute((_HERE / "supabase_project.sql").read_bytes())
        yield cluster
    remove_home(home)


def _make_roles(first: str, password: str) -> str:
    """Turn the superuser into supabase_admin, and give its name to a role of less power."""
    with psycopg.connect(first, autocommit=True) as conn:
        conn.execute(
            sql.SQL("create role renamer superuser login password {}").format(sql.Literal(password))
        )
    with psycopg.connect(make_conninfo(first, user="renamer"), autocommit=True) as conn:
        conn.execute("alter role postgres rename to supabase_admin")
    admin = make_conninfo(first, user="supabase_admin")
    with psycopg.connect(admin, autocommit=True) as conn:
        conn.execute("drop role renamer")
        conn.execute((_HERE / "supabase_roles.sql").read_bytes())
        conn.execute(sql.SQL("alter role postgres password {}").format(sql.Literal(password)))
        conn.execute("alter database postgres owner to postgres")
    return admin


@pytest.fixture
def project(supabase_cluster: SupabaseCluster) -> Iterator[Database]:
    """Give the database of a new Supabase project."""
    name = f"project_{next(_serial)}"
    yield supabase_cluster.create(name, _EMPTY)
    supabase_cluster.drop(name)


@pytest.fixture(scope="session")
async def migrated_template(anyio_backend: str, supabase_cluster: SupabaseCluster) -> str:
    """Migrate a project once, to be copied; nothing may connect to it afterwards."""
    assert anyio_backend == "asyncio"
    await supabase_cluster.migrate(supabase_cluster.create(_MIGRATED, _EMPTY))
    return _MIGRATED


@pytest.fixture
def migrated_project(
    supabase_cluster: SupabaseCluster, migrated_template: str
) -> Iterator[Database]:
    """Give the database of a Supabase project with Auto-Match in it."""
    name = f"project_{next(_serial)}"
    yield supabase_cluster.create(name, migrated_template)
    supabase_cluster.drop(name)
