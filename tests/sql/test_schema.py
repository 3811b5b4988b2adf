"""`sql/schema/` and what the migrations make of a database are the same."""

from __future__ import annotations

from typing import TYPE_CHECKING

import psycopg
import pytest

from automatch.store.installation.migrate import MIGRATIONS
from tests.support.catalog import describe
from tests.support.postgres import create_database, drop_database
from tools.baseline import list_schema_files

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.postgres import Database, TestCluster

_BODIES = """
    select case l.lanname
        when 'sql' then fmgr_sql_validator(p.oid)
        when 'plpgsql' then plpgsql_validator(p.oid)
    end
    from pg_proc as p
    join pg_language as l on l.oid = p.prolang
    where p.pronamespace in ('public'::regnamespace, 'automatch'::regnamespace)
      and l.lanname in ('sql', 'plpgsql')
"""


def apply(dsn: str, files: list[Path]) -> None:
    with psycopg.connect(dsn) as conn:
        for path in files:
            conn.execute(path.read_bytes())


@pytest.fixture
def second_database(cluster: TestCluster):
    """Give another empty database."""
    create_database(cluster, "second", template="template1")
    yield cluster.address.named("second")
    drop_database(cluster, "second")


def test_migrations_make_what_the_schema_files_say(
    blank_database: Database, second_database: Database
) -> None:
    apply(blank_database.owner, list_schema_files())
    apply(second_database.owner, sorted(MIGRATIONS.glob("*.sql")))

    assert describe(second_database.owner) == describe(blank_database.owner)


def test_body_of_every_function_is_accepted_once_all_objects_are_there(
    database: Database,
) -> None:
    with psycopg.connect(database.owner) as conn:
        conn.execute("set search_path = public, extensions")
        assert len(conn.execute(_BODIES).fetchall()) > 100
