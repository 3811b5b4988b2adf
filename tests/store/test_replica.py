"""Where reads go: what is no replica of this primary, or none at all, is never read from."""

from __future__ import annotations

import asyncio
from uuid import uuid4

import pytest

from automatch.background import BackgroundTasks
from automatch.model.people import Claims, Role
from automatch.settings.database import PoolSettings
from automatch.store.database import Database as Pool
from automatch.store.replica import Replica, look_at_replica
from tests.support.build import connect, one
from tests.support.postgres import Database
from tests.support.waiting import PATIENCE_S

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("away", [False, True], ids=["the primary itself", "nobody there"])
async def test_server_that_follows_no_primary_is_not_read_from(
    database: Database, away: bool
) -> None:
    address = "host=127.0.0.1 port=1" if away else database.api
    person = uuid4()
    async with Pool(database.api, PoolSettings(), name="test") as db:
        replica = Replica(db, address, PoolSettings(timeout_s=1, replica_wait_s=5))
        async with replica.running(BackgroundTasks()):
            for _ in range(3):
                # Even where it seems to keep up.
                replica.is_used = True
                async with replica.as_user(Claims(Role.AUTHENTICATED, person)) as conn:
                    row = await (await conn.execute("select automatch.uid()")).fetchone()
                assert row == (person,)

    assert replica.reads == {"replica": 0, "primary": 3}
    assert replica.lag_s > 0


async def test_replica_is_read_from_again_after_its_task_has_failed(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    failed = asyncio.Event()

    async def seems_to_follow(*_: object) -> bool:
        if not failed.is_set():
            failed.set()
            raise RuntimeError("a defect")
        return True

    monkeypatch.setattr("automatch.store.replica._has_replayed", seems_to_follow)
    kept_up = asyncio.Event()
    async with Pool(database.api, PoolSettings(), name="test") as db:
        replica = Replica(
            db, database.api, PoolSettings().model_copy(update={"replica_wait_s": 60})
        )
        monkeypatch.setattr(replica._outage, "ended", kept_up.set)
        async with replica.running(BackgroundTasks(backoff_s=0)):
            await asyncio.wait_for(kept_up.wait(), PATIENCE_S)
            async with replica.as_user(Claims(Role.AUTHENTICATED, uuid4())):
                pass

    assert failed.is_set()
    assert replica.reads == {"replica": 1, "primary": 0}


@pytest.mark.parametrize("follows", [False, True])
async def test_replica_is_looked_at(
    database: Database, monkeypatch: pytest.MonkeyPatch, follows: bool
) -> None:
    async def has_replayed(*_: object) -> bool:
        return True

    if follows:
        monkeypatch.setattr("automatch.store.replica._has_replayed", has_replayed)
    async with (
        Pool(database.api, PoolSettings(), name="test") as db,
        db.connection() as primary,
    ):
        lag_s = await look_at_replica(primary, database.api, wait_s=30)

    assert (lag_s is not None) is follows


async def test_login_of_the_server_may_ask_for_positions(database: Database) -> None:
    with connect(database.api) as conn:
        assert one(conn, "select system_identifier > 0 from pg_control_system()")
        assert one(conn, "select pg_current_wal_flush_lsn() is not null")
