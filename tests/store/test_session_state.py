"""What a caller leaves in a session of the pool, and that the next one does not find it."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager, nullcontext
from typing import Any
from uuid import uuid4

import pytest

from automatch.model.people import Claims, Role
from automatch.settings.database import PoolSettings
from automatch.store.database import Database as Pool
from tests.support.postgres import Database

pytestmark = pytest.mark.anyio

LEFT_BEHIND = [
    "set statement_timeout = 0",
    "set search_path = pg_temp, public",
    "set default_transaction_read_only = on",
    "set role authenticated",
    "select set_config('request.jwt.claims', '{\"sub\": \"somebody\"}', false)",
    "select set_config('app.anything', 'left', false)",
    "listen automatch_feed",
    "declare left_open cursor with hold for select 1",
]
STATE = """
    select
        current_setting('statement_timeout'), current_setting('search_path'),
        current_setting('default_transaction_read_only'), current_user::text,
        coalesce(current_setting('request.jwt.claims', true), ''),
        coalesce(current_setting('app.anything', true), ''),
        array(select pg_listening_channels()),
        array(select c.name from pg_cursors as c where c.is_holdable)
"""


@pytest.mark.parametrize("way", ["as_user", "transaction", "pipelined_transaction", "connection"])
@pytest.mark.parametrize("fails", [False, True])
async def test_nothing_of_a_session_passes_to_the_next_caller(
    database: Database, way: str, fails: bool
) -> None:
    async with Pool(database.api, PoolSettings(max_size=1), name="test") as pool:
        before = await _state(pool)
        for statement in LEFT_BEHIND:
            with pytest.raises(ZeroDivisionError) if fails else nullcontext():
                async with _open(pool, way) as conn:
                    await conn.execute(statement)
                    if fails:
                        # What outlives a transaction has to be committed first.
                        await conn.execute("commit")
                        raise ZeroDivisionError

            assert await _state(pool) == before, statement


async def test_prepared_statements_are_kept(database: Database) -> None:
    async with Pool(database.api, PoolSettings(max_size=1), name="test") as pool:
        async with pool.as_user(Claims(role=Role.ANON)) as conn:
            await conn.execute("select 1", prepare=True)
        async with pool.connection() as conn:
            prepared = await conn.execute("select count(*) from pg_prepared_statements")

            assert await prepared.fetchone() == (1,)


def _open(pool: Pool, way: str) -> AbstractAsyncContextManager[Any]:
    if way == "as_user":
        return pool.as_user(Claims(role=Role.AUTHENTICATED, subject=uuid4()))
    return getattr(pool, way)()


async def _state(pool: Pool) -> tuple[Any, ...] | None:
    async with pool.connection() as conn:
        return await (await conn.execute(STATE)).fetchone()
