from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from automatch.errors.store import DatabaseUnavailableError, ServerUnfitError
from automatch.postgres.addresses import login_passwords
from automatch.store.installation import server_check
from automatch.store.installation.migrate import migrate
from automatch.store.installation.server_check import check_server
from tests.support.doctor import close_vector
from tests.support.postgres import Database, TestCluster, drop_database

pytestmark = pytest.mark.anyio


async def test_server_in_use_is_fit_for_each_login(database: Database) -> None:
    for address in (database.owner, database.api, database.worker):
        await check_server(address)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"version": 14}, "PostgreSQL 14"),
        ({"encoding": "LATIN1"}, "encoding LATIN1"),
        ({"folds_letters": False}, "locale"),
        ({"vector_version": None}, "pgvector"),
        ({"vector_version": "0.7.4"}, "0.7.4"),
        ({"vector_version": "0.10.0"}, None),
        ({"vector_schema": "x", "without_vector": ["a", "b"]}, "grant usage on schema x to a, b"),
    ],
)
def test_unfit_server_is_told_with_what_to_do(change: dict[str, object], words: str | None) -> None:
    fit = server_check._Server(15, "UTF8", folds_letters=True, vector_version="0.8.0")

    problem = server_check._find_problem(replace(fit, **change))

    assert (problem is None) == (words is None)
    assert words is None or words in str(problem)


async def test_database_of_another_encoding_is_refused_before_anything_is_changed(
    cluster: TestCluster,
) -> None:
    with psycopg.connect(cluster.address.owner, autocommit=True) as conn:
        conn.execute("create database in_ascii encoding 'SQL_ASCII' locale 'C' template template0")
    address = cluster.address.named("in_ascii").owner
    try:
        with pytest.raises(ServerUnfitError, match="SQL_ASCII"):
            await migrate(address, {})
        with psycopg.connect(address) as conn:
            left = conn.execute(
                "select count(*) from pg_namespace where nspname in ('automatch', 'auth')"
            ).fetchone()
        assert left == (0,)
    finally:
        drop_database(cluster, "in_ascii")


async def test_schema_of_pgvector_that_is_closed_to_the_logins_is_refused(
    database: Database,
) -> None:
    close_vector(database.owner)

    for address in (database.owner, database.api, database.worker):
        with pytest.raises(ServerUnfitError, match="closed to automatch_api, automatch_worker"):
            await check_server(address)


async def test_migration_that_could_not_open_pgvector_is_not_said_to_be_done(
    blank_database: Database, cluster: TestCluster, tmp_path: Path
) -> None:
    with psycopg.connect(blank_database.owner, autocommit=True) as conn:
        conn.execute("create schema extensions")
        conn.execute("create extension vector schema extensions")
    (tmp_path / "20200101000000_automatch_none.sql").write_text("create schema automatch;")

    with pytest.raises(ServerUnfitError, match="grant usage on schema extensions"):
        await migrate(
            blank_database.owner,
            login_passwords(cluster.secrets),
            migrations=tmp_path,
            compat=tmp_path / "none",
        )


async def test_server_that_is_away_is_told_with_the_reason() -> None:
    with pytest.raises(DatabaseUnavailableError, match="does not answer: "):
        await check_server("host=/nowhere")


async def test_password_of_another_installation_is_told_with_what_to_do(
    database: Database,
) -> None:
    other = make_conninfo(database.api, password="of-another-installation")
    with pytest.raises(DatabaseUnavailableError) as refused:
        await check_server(other)

    assert "refuses the password in secrets.json" in refused.value.message
    assert "Copy secrets.json" in refused.value.message
    assert "of-another-installation" not in refused.value.message


async def test_connection_that_changes_its_session_is_a_transaction_pooler(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    backends = iter(range(100))

    async def another_each_time(_: object) -> int:
        return next(backends)

    monkeypatch.setattr(server_check, "_read_backend", another_each_time)

    with pytest.raises(ServerUnfitError, match="pooler"):
        await check_server(database.owner)
