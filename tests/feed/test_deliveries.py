"""When matches were written to open pages: collected by each server, recorded once a second."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from uuid import UUID

import pytest

from automatch.errors.store import DatabaseUnavailableError
from automatch.feed import deliveries as module
from automatch.feed.deliveries import Deliveries
from automatch.settings.database import PoolSettings
from automatch.store.database import Database
from automatch.store.queue.queue_admin import load_job
from automatch.store.queue.stats import load_statistics
from tests.support import build
from tests.support.build import connect, one
from tests.support.phoenix import phone
from tests.support.postgres import Database as Address
from tests.support.system import Event, running_server
from tests.support.waiting import PATIENCE_S, until

pytestmark = pytest.mark.anyio

FACE = build.unit(7)


def recorded(database: Address) -> dict[str, bool]:
    with connect(database.owner) as conn:
        rows = conn.execute("select profile_id::text, was_open from automatch.deliveries")
        return dict(rows.fetchall())


async def match_on(events: AsyncIterator[Event]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        async for event in events:
            if event.kind == "match":
                return


async def test_job_tells_when_both_open_pages_had_its_match_and_who_saw_it_later(
    settings, cluster, database: Address
) -> None:
    async with running_server(settings, cluster.secrets, database) as server:
        her, by_app, late, later, never = [await server.join("female") for _ in range(5)]
        him = await server.join("male")
        with connect(database.owner, autocommit=True) as conn:
            for seed, woman in enumerate((her, by_app, late, later, never)):
                build.a_face(conn, UUID(woman.id), build.like(FACE, 0.9, seed=seed))
            his_face = build.a_face(conn, UUID(him.id), FACE)
            async with her.stream() as hers, him.stream() as his, phone(server) as app:
                await anext(hers)
                await anext(his)
                await app.joined(by_app)
                assert build.a_match(conn, his_face) == 5
                await match_on(hers)
                await match_on(his)
                await app.records(1)
                async with late.stream(after=0) as theirs:
                    await match_on(theirs)
                assert len(await later.feed()) == 1
            job = one(conn, "select id from public.match_jobs")
    # A server that stops records what it has noted.
    assert recorded(database) == {
        **dict.fromkeys((her.id, by_app.id, him.id), True),
        **dict.fromkeys((late.id, later.id), False),
    }

    async with Database(database.api, PoolSettings(), name="test") as db, db.connection() as api:
        shown = await load_job(api, job)
    assert (shown.reached, shown.seen_later) == (3, 2)
    async with (
        Database(database.owner, PoolSettings(), name="test") as db,
        db.connection() as owner,
    ):
        to_screen = (await load_statistics(owner, recent=0)).to_screen
    assert (to_screen.jobs, to_screen.p95_s) == (
        1,
        pytest.approx(shown.timings["delivered_ms"] / 1000, abs=0.001),
    )
    written = shown.timings["written_ms"]
    assert written < shown.timings["delivered_ms"] < written + 60_000
    assert written < shown.timings["others_delivered_ms"] < written + 60_000


@pytest.fixture
def a_delivery(database: Address) -> tuple[UUID, UUID]:
    """Give somebody and a match of theirs."""
    with connect(database.owner, autocommit=True) as conn:
        (she, her_face), _ = build.a_pair(conn)
        build.a_match(conn, her_face)
        return she, one(conn, "select id from public.matches")


async def test_what_is_noted_while_the_database_is_away_is_recorded_afterwards(
    database: Address, a_delivery
) -> None:
    db = Database(database.api, PoolSettings(), name="test")
    deliveries = Deliveries(db)
    deliveries.note(*a_delivery, opened=deliveries.open_page() - 3600)

    async def is_recorded() -> bool:
        with suppress(DatabaseUnavailableError):
            await deliveries.flush()
        return bool(recorded(database))

    assert not await is_recorded()
    async with db:
        await until(is_recorded)

    assert recorded(database) == {str(a_delivery[0]): True}


async def test_more_than_a_bounded_number_is_dropped_and_counted(
    database: Address, a_delivery, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_MAX_KEPT", 1)
    async with Database(database.api, PoolSettings(), name="test") as db:
        deliveries = Deliveries(db)
        for _ in range(3):
            deliveries.note(*a_delivery, opened=deliveries.open_page())
        await deliveries.close()

    assert deliveries.dropped == 2
    assert recorded(database) == {str(a_delivery[0]): False}
