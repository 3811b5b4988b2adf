"""Where reads go: what is no replica of this primary, or none at all, is never read from."""

from __future__ import annotations

import asyncio
from uuid import uuid4

import pytest

from automatch.model.people import Claims, Role
from automatch.settings.database import PoolSettings
from automatch.store.database import Database as Pool
from automatch.store.replica import Replica
from tests.support.build import connect, one
from tests.support.postgres import Database

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("away", [False, True], ids=["the primary itself", "nobody there"])
async def test_server_that_follows_no_primary_is_not_read_from(
    database: Database, away: bool
) -> None:
    address = "host=127.0.0.1 port=1" if away else database.api
    person = uuid4()
    async with Pool(database.api, PoolSettings(), name="test") as db:
        replica = Replica(db, address, PoolSettings(timeout_s=1, replica_wait_s=5))
        running = asyncio.create_task(replica.run())
        try:
            for _ in range(3):
                # Even where it seems to keep up.
                replica.is_used = True
                async with replica.as_user(Claims(Role.AUTHENTICATED, person)) as conn:
                    row = await (await conn.execute("select automatch.uid()")).fetchone()
                assert row == (person,)
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)

    assert replica.reads == {"replica": 0, "primary": 3}
    assert replica.lag_s > 0


async def test_login_of_the_server_may_ask_for_positions(database: Database) -> None:
    with connect(database.api) as conn:
        assert one(conn, "select system_identifier > 0 from pg_control_system()")
        assert one(conn, "select pg_current_wal_flush_lsn() is not null")
