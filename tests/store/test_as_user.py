"""Acting as one person: with the claims of a request, which leave nothing behind."""

from __future__ import annotations

import asyncio
from uuid import uuid4

import psycopg
import pytest
from psycopg.errors import InsufficientPrivilege

from automatch.model.people import Claims, Role
from automatch.settings.database import PoolSettings
from automatch.store.database import Database
from tests.support.build import connect, one
from tests.support.waiting import until

ONE_CONNECTION = PoolSettings(min_size=1, max_size=1)


def claims_of(person=None, role=Role.AUTHENTICATED):
    return Claims(role=role, subject=person or uuid4())


SLEEPS = (
    "select count(*) from pg_stat_activity"
    " where wait_event = 'PgSleep' and datname = current_database()"
)
LEFT_BEHIND = "select current_user, current_setting('request.jwt.claims', true)"


async def left_behind(db):
    async with db.transaction() as conn:
        return await (await conn.execute(LEFT_BEHIND)).fetchone()


@pytest.fixture
async def pool(rows_database):
    async with Database(rows_database.api, ONE_CONNECTION, name="test") as db:
        yield db


@pytest.mark.anyio
async def test_as_user_acts_as_one_person_and_leaves_nothing_behind(pool):
    person = uuid4()
    async with pool.as_user(claims_of(person)) as conn:
        acted = await (await conn.execute("select current_user, auth.uid()")).fetchone()

    assert acted == ("authenticated", person)
    assert await left_behind(pool) in {("automatch_api", ""), ("automatch_api", None)}


@pytest.mark.anyio
@pytest.mark.parametrize("in_the_database", [True, False])
async def test_as_user_leaves_nothing_behind_after_an_error(pool, in_the_database):
    async def go_wrong():
        async with pool.as_user(claims_of()) as conn:
            if in_the_database:
                await conn.execute("select 1 / 0")
            raise ZeroDivisionError

    with pytest.raises((ZeroDivisionError, psycopg.errors.DivisionByZero)):
        await go_wrong()

    assert await left_behind(pool) in {("automatch_api", ""), ("automatch_api", None)}


@pytest.mark.anyio
async def test_as_user_leaves_nothing_behind_when_cancelled_in_a_query(pool, rows_database):
    async def wait_for_ever():
        async with pool.as_user(claims_of()) as conn:
            await conn.execute("select pg_sleep(600)")

    task = asyncio.create_task(wait_for_ever())
    with connect(rows_database.owner, autocommit=True) as watcher:
        # Postgres ignores what cancels a query that it has not begun.
        await until(lambda: one(watcher, SLEEPS))
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    assert await left_behind(pool) in {("automatch_api", ""), ("automatch_api", None)}


@pytest.mark.anyio
async def test_api_cannot_act_as_the_service_whatever_the_claims_say(pool):
    with pytest.raises(InsufficientPrivilege):
        async with pool.as_user(claims_of(role=Role.SERVICE)):
            pass
