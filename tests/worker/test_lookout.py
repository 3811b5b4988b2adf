"""What idle workers see in line for their turn, and that a part without such a look asks itself."""

from __future__ import annotations

import asyncio
from collections import Counter
from uuid import uuid4

import psycopg
import pytest

from automatch.store.matching import model_changes
from automatch.store.notify import JobNotifier, Look
from automatch.store.queue import queue
from automatch.worker.fetch import JobFetcher
from automatch.worker.lookout import Lookout
from tests.support import build
from tests.support.build import connect
from tests.support.model_change import begin
from tests.support.postgres import Database
from tests.support.scheduling import eventually
from tests.support.waiting import until
from tests.support.worker import observe, run_worker

pytestmark = pytest.mark.anyio

REGISTER = "select pg_advisory_lock(automatch.lock_key('idle_worker'))"
LEADER = "select 1 from automatch.maintenance_leader where leads_until > now() + interval '1 s'"


class Clock:
    now = 0.0
    calls = 0

    def __call__(self) -> float:
        self.calls += 1
        return self.now


def count_calls(monkeypatch: pytest.MonkeyPatch, *functions: tuple[object, str]) -> Counter[str]:
    """Count how often functions are called, by their names."""
    calls: Counter[str] = Counter()

    def count(owner: object, name: str) -> None:
        function = getattr(owner, name)

        async def counted(*arguments: object) -> object:
            calls[name] += 1
            return await function(*arguments)

        monkeypatch.setattr(owner, name, counted)

    for owner, name in functions:
        count(owner, name)
    return calls


def a_look(*, has_leader: bool) -> Look:
    return Look(None, has_leader, 1, 1, None)


async def test_part_waits_for_the_look_that_concerns_it() -> None:
    lookout = Lookout()
    waiting = asyncio.create_task(lookout.wait(60, lambda look: not look.has_leader))
    await asyncio.sleep(0)
    lookout.note(a_look(has_leader=True))
    for _ in range(5):
        await asyncio.sleep(0)
    waited_on = not waiting.done()
    lookout.note(a_look(has_leader=False))
    await asyncio.wait_for(waiting, 5)

    assert waited_on


async def test_part_asks_itself_when_nobody_looked_for_some_time() -> None:
    await asyncio.wait_for(Lookout().wait(0.01, lambda _: False), 5)


async def test_look_postpones_the_question_of_a_part() -> None:
    clock = Clock()
    lookout = Lookout(clock=clock)
    waiting = asyncio.create_task(lookout.wait(0.01, lambda _: False))
    await asyncio.sleep(0)
    clock.now = 0.02
    lookout.note(a_look(has_leader=True))
    asked = clock.calls
    await until(lambda: clock.calls > asked + 2)
    waited_on = not waiting.done()
    clock.now = 0.04
    await asyncio.wait_for(waiting, 5)

    assert waited_on


async def test_worker_in_line_finds_the_job_of_which_a_frozen_one_was_told(
    database: Database,
) -> None:
    with connect(database.owner) as conn:
        face = build.a_face(conn, build.a_profile(conn), build.unit(0))
    async with (
        await psycopg.AsyncConnection.connect(database.owner, autocommit=True) as frozen,
        observe(database) as db,
    ):
        await frozen.execute(REGISTER)
        async with run_worker(database, poll_s=0.05):
            await db.rows("select public.enqueue_match_job(%s)", face)
            await db.wait_until("select count(*) = 1 from match_jobs where status = 'completed'")


async def test_worker_in_line_asks_once_a_turn_and_claims_nothing(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = count_calls(monkeypatch, (JobFetcher, "_claim"), (JobNotifier, "await_turn"))
    async with await psycopg.AsyncConnection.connect(database.owner, autocommit=True) as other:
        await other.execute(REGISTER)
        async with run_worker(database, poll_s=0.01):
            await until(lambda: calls["await_turn"] > 5)
            # That of its start.
            assert calls["_claim"] == 1


async def test_worker_without_work_leads_as_soon_as_it_sees_no_leader(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = count_calls(monkeypatch, (queue, "lead_maintenance"))
    with connect(database.owner, autocommit=True) as conn:
        conn.execute("select public.lead_maintenance(%s, '1 hour')", [uuid4()])
        # By itself it would ask again after an hour.
        async with run_worker(database, poll_s=0.05, sweep_s=600):
            await until(lambda: calls["lead_maintenance"] == 1)
            conn.execute("update automatch.maintenance_leader set leads_until = now()")
            await eventually(database.owner, LEADER)


async def test_worker_without_work_embeds_stored_photos_as_soon_as_it_sees_a_new_model(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = count_calls(monkeypatch, (model_changes, "read_preparing_model"))
    with connect(database.owner, autocommit=True) as conn:
        build.a_face(conn, build.a_profile(conn), build.unit(0))
        async with run_worker(database, poll_s=0.05, sweep_s=600, backfill_concurrency=1):
            await until(lambda: calls["read_preparing_model"] == 1)
            begin(conn, "long", build.DIMENSIONS)
            await eventually(database.owner, "select from face_embeddings where model = 'long'")
