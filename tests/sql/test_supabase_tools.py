"""What Supabase's own tools say of the schema: the CLI's push, its linter and its advisors."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import psycopg
import pytest

from automatch.store.installation.export import list_missing, write_migrations
from tests.support.postgres import Database, TestCluster, create_database, drop_database
from tests.support.supabase import SupabaseCluster
from tests.support.supabase_tool import run_supabase

pytestmark = pytest.mark.anyio

_UNINDEXED = """
    select conrelid::regclass::text, conname
    from pg_constraint as c
    where contype = 'f' and conparentid = 0 and not exists (
        select from pg_index as i
        where i.indrelid = c.conrelid and i.indpred is null
          and (i.indkey::smallint[])[0 : cardinality(c.conkey) - 1] @> c.conkey
    )
"""
_WITHOUT_EXTENSIONS = """
    drop schema cron cascade;
    drop schema net cascade;
    drop function auth.sign_up(text, text, jsonb);
    drop function auth.create_user(text, text, jsonb);
"""
"""What a Supabase project lacks where pg_cron and pg_net are off."""


async def test_cli_pushes_the_migrations_and_advises_nothing(
    project: Database, supabase_cluster: SupabaseCluster, tmp_path: Path
) -> None:
    folder = tmp_path / "supabase" / "migrations"
    write_migrations(folder, list_missing(folder))
    versions = sorted(path.name[:14] for path in folder.iterdir())

    pushed = run_supabase(tmp_path, project.owner, "db", "push", "--yes")
    assert pushed.returncode == 0, pushed.stderr
    again = run_supabase(tmp_path, project.owner, "db", "push", "--yes")
    assert "up to date" in again.stdout + again.stderr
    listed = run_supabase(tmp_path, project.owner, "migration", "list")
    # Once for the folder, once for the database.
    assert [listed.stdout.count(version) for version in versions] == [2] * len(versions)
    assert await supabase_cluster.migrate(project) == []

    advised = run_supabase(
        tmp_path, project.owner, *("db", "advisors", "--level", "info", "--output-format", "json")
    )
    assert advised.returncode == 0, advised.stderr
    found = json.loads(advised.stdout)["results"]
    # Nothing has been searched or queued yet.
    assert [advice for advice in found if advice["name"] != "unused_index"] == []


def test_linter_finds_nothing(cluster: TestCluster, template: str, tmp_path: Path) -> None:
    with psycopg.connect(cluster.address.owner) as conn:
        known = "select from pg_available_extensions where name = 'plpgsql_check'"
        if conn.execute(known).fetchone() is None:
            pytest.skip("this server has no plpgsql_check, which lints for the CLI")
    create_database(cluster, "linted", template)
    try:
        database = cluster.address.named("linted")
        assert _lint(tmp_path, database) == []
        with psycopg.connect(database.owner, autocommit=True) as conn:
            conn.execute(_WITHOUT_EXTENSIONS)
        assert _lint(tmp_path, database) == []
    finally:
        drop_database(cluster, "linted")


def _lint(folder: Path, database: Database) -> list[Any]:
    linted = run_supabase(
        folder, database.owner, *("db", "lint", "--level", "warning", "--output", "json")
    )
    assert linted.returncode == 0, linted.stderr
    assert "Linting schema: public" in linted.stderr
    found: list[Any] = json.loads(linted.stdout or "[]")
    return found


def test_every_foreign_key_has_an_index(conn: psycopg.Connection) -> None:
    assert conn.execute(_UNINDEXED).fetchall() == []
