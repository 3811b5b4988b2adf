"""Connections of a pool while the server is away, and while statements fail."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict
from psycopg_pool import PoolTimeout

from automatch.errors.store import (
    DatabaseUnavailableError,
    InstallationError,
    StorageFullError,
)
from automatch.settings.database import PoolSettings
from automatch.store.database import Database as Pool
from automatch.store.database import describe_error
from tests.support.postgres import Database, TestCluster
from tests.support.waiting import PATIENCE_S

pytestmark = pytest.mark.anyio


@contextmanager
def _away(cluster: TestCluster, database: Database) -> Iterator[None]:
    """End all connections to a database, and let it accept none until left."""
    name = conninfo_to_dict(database.owner)["dbname"]
    allow = sql.SQL("alter database {} allow_connections {}")
    with psycopg.connect(cluster.address.owner, autocommit=True) as conn:
        conn.execute(allow.format(sql.Identifier(str(name)), sql.Literal(False)))
        conn.execute(
            "select pg_terminate_backend(pid, 10000) from pg_stat_activity where datname = %s",
            [name],
        )
        try:
            yield
        finally:
            conn.execute(allow.format(sql.Identifier(str(name)), sql.Literal(True)))


async def _ask(pool: Pool) -> None:
    async with pool.connection() as conn:
        await conn.execute("select 1")


@pytest.mark.parametrize(
    ("state", "error"),
    [
        ("25006", DatabaseUnavailableError),
        ("42501", InstallationError),
        ("53100", StorageFullError),
        ("53400", DatabaseUnavailableError),
        ("57014", DatabaseUnavailableError),
        ("58030", DatabaseUnavailableError),
        ("XX001", InstallationError),
    ],
)
async def test_fault_of_the_server_is_told_to_a_worker_as_one(
    database: Database, state: str, error: type[Exception]
) -> None:
    fault = f"raise exception using errcode = '{state}', message = 'broken'"
    async with Pool(database.worker, PoolSettings(), name="test", for_worker=True) as pool:
        with pytest.raises(error) as raised:
            async with pool.connection() as conn:
                await conn.execute(f"do $$ begin {fault}; end $$".encode())

    assert describe_error(raised.value) == f"broken (SQLSTATE {state})"


async def test_one_caller_waits_for_a_server_that_is_away_and_the_others_are_refused_at_once(
    cluster: TestCluster, database: Database
) -> None:
    async with Pool(database.api, PoolSettings(timeout_s=0.5), name="test") as pool:
        with _away(cluster, database):
            with pytest.raises(DatabaseUnavailableError):
                await _ask(pool)
            errors = await asyncio.gather(*(_ask(pool) for _ in range(20)), return_exceptions=True)

        assert {type(error) for error in errors} == {DatabaseUnavailableError}
        # None of them waited for the pool, or one that came when it was time to try again.
        assert sum(_waited(error) for error in errors) <= 1
        async with asyncio.timeout(PATIENCE_S):
            while not await _answers(pool):
                await asyncio.sleep(0.05)


async def test_errors_of_statements_refuse_no_other_caller(database: Database) -> None:
    async with Pool(database.api, PoolSettings(), name="test") as pool:
        for state in ("40001", "40P01", "55P03", "25P03", "57014"):
            with pytest.raises(DatabaseUnavailableError):
                async with pool.connection() as conn:
                    await conn.execute(f"do $$ begin raise sqlstate '{state}'; end $$")
            await _ask(pool)


async def _answers(pool: Pool) -> bool:
    try:
        await _ask(pool)
    except DatabaseUnavailableError:
        return False
    return True


def _waited(error: BaseException | None) -> bool:
    return error is not None and isinstance(error.__cause__, PoolTimeout)
