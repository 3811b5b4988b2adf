"""Faults of the installation: they are nobody's photo's fault, and are seen by operators."""

from __future__ import annotations

import asyncio
from pathlib import Path

import psycopg
import pytest
from psycopg import sql
from structlog.testing import capture_logs

from automatch.errors.embedder import ModelMissingError
from automatch.errors.store import NotReadyError
from automatch.settings import Settings
from automatch.vision import Embedder
from tests.support.photos import astronaut, encode
from tests.support.postgres import Database, TestCluster
from tests.support.scheduling import eventually
from tests.support.system import running_server, running_worker
from tests.support.waiting import logged
from tests.support.worker import observe, run_worker
from tests.worker.test_complete import ALL_DONE, COMPLETED, enqueue_photos, outcomes, run_on_write

pytestmark = pytest.mark.anyio

QUICK = {"backoff_s": 0.05, "outage_pause_max_s": 0.05}
FUNCTIONS = """
    select distinct p.proname from pg_proc as p
    where p.pronamespace = 'public'::regnamespace and p.prosecdef
      and has_function_privilege('automatch_worker', p.oid, 'execute')
"""


def rename(database: Database, names: dict[str, str]) -> None:
    """Rename functions all at once, as a migration does: a worker may call them at any moment."""
    with psycopg.connect(database.owner) as conn:
        for old, new in names.items():
            functions = conn.execute(
                "select oid::regprocedure::text from pg_proc"
                " where proname = %s and pronamespace = 'public'::regnamespace",
                [old],
            ).fetchall()
            assert functions
            for (function,) in functions:
                conn.execute(
                    sql.SQL("alter function {} rename to {}").format(
                        sql.SQL(function), sql.Identifier(new)
                    )
                )


@pytest.fixture
def impatient(settings: Settings) -> Settings:
    worker = settings.worker.model_copy(update={"outage_pause_max_s": 0.1, "backoff_s": 0.1})
    return settings.model_copy(update={"worker": worker})


@pytest.mark.parametrize(
    "function", ["claim_match_jobs", "store_face_embeddings", "complete_match_jobs"]
)
async def test_missing_function_pauses_the_worker_and_costs_no_attempt(
    impatient: Settings,
    cluster: TestCluster,
    database: Database,
    embedder: Embedder,
    function: str,
) -> None:
    rename(database, {function: "of_another_version"})
    async with (
        running_server(impatient, cluster.secrets, database) as system,
        running_worker(impatient, cluster.secrets, embedder),
    ):
        her = await system.join()
        answer = await her.upload(encode(astronaut()))
        [(message,)] = await eventually(
            database.owner, "select message from automatch.worker_faults"
        )
        assert function in message
        assert "SQLSTATE 42883" in message
        # Several attempts more, as a job would have used up in that time.
        await eventually(
            database.owner,
            "select from automatch.worker_faults where seen_at > since + interval '0.5 seconds'",
        )
        assert (await status(database))[0] != "failed"

        rename(database, {"of_another_version": function})

        ended = await her.ended(answer.json()["job"]["id"])
        assert (ended["status"], ended["attempts"]) == ("completed", 1)
        await eventually(
            database.owner, "select where not exists (select from automatch.worker_faults)"
        )


async def status(database: Database) -> tuple[str, int]:
    [row] = await eventually(database.owner, "select status, attempts from public.match_jobs")
    return row


# One of each kind of error: tests/store/test_database.py has the other states.
@pytest.mark.parametrize("state", ["42501", "53100", "58030", "model file"])
async def test_fault_of_the_machine_pauses_the_worker_and_costs_no_attempt(
    database: Database, state: str
) -> None:
    enqueue_photos(database, 1, embedded=False)
    has_model = state != "model file"

    def extract(_: str) -> None:
        if not has_model:
            raise ModelMissingError(Path("the model file"))

    if has_model:
        fault = f"raise exception using errcode = '{state}', message = 'broken'"
        run_on_write(database, "face_embeddings", "true", fault)
    # Shorter than the fault lasts.
    lease = {"lease_s": 0.6, "heartbeat_s": 0.3}
    async with run_worker(database, extract, **QUICK, **lease) as worker, observe(database) as db:
        # On a busy machine the database may not answer in between.
        await db.wait_until(
            "select exists (select from automatch.worker_faults"
            " where message ~ %s and seen_at > since + interval '0.7 seconds')",
            state,
        )
        with pytest.raises(NotReadyError):
            await worker.check_ready()

        has_model = True
        # To drop the trigger would lock tables against a worker that is at them.
        await db.conn.execute(
            "create or replace function automatch.run_on_write() returns trigger"
            " language plpgsql as $$ begin return new; end $$"
        )
        await db.wait_until(ALL_DONE)
        await db.wait_until("select not exists (select from automatch.worker_faults)")
        await worker.check_ready()

    assert list(outcomes(database).values()) == [COMPLETED]


async def test_worker_and_schema_of_two_versions_lose_no_lease_and_stop(database: Database) -> None:
    """Whichever is older: a call with other parameters finds no function, as one without any."""
    enqueue_photos(database, 1, embedded=False)
    began, may_end = asyncio.Event(), asyncio.Event()

    async def extract(_: str) -> None:
        began.set()
        await may_end.wait()

    with psycopg.connect(database.owner) as conn:
        functions = [name for (name,) in conn.execute(FUNCTIONS)]
    assert {"claim_match_jobs", "renew_match_leases", "release_match_jobs"} < set(functions)
    with capture_logs() as logs:
        async with (
            # It looks for jobs while it has one.
            run_worker(database, extract, **QUICK, heartbeat_s=0.2, poll_s=0.05) as worker,
            observe(database) as db,
        ):
            await began.wait()
            rename(database, {name: f"other_{name}" for name in functions})
            await logged(logs, "leases not renewed")
            await logged(logs, "jobs not released; their leases will expire")
            await logged(logs, "worker pauses")
            with pytest.raises(NotReadyError, match="SQLSTATE 42883"):
                await worker.check_ready()
            rename(database, {f"other_{name}": name for name in functions})
            # Before, it could neither be completed nor released, and its lease would expire.
            may_end.set()
            await db.wait_until(ALL_DONE)
            rename(database, {name: f"other_{name}" for name in functions})

    assert list(outcomes(database).values()) == [COMPLETED]
    assert "worker stopped" in [entry["event"] for entry in logs]


async def test_job_whose_lease_cannot_be_renewed_is_released_before_that_costs_an_attempt(
    database: Database,
) -> None:
    enqueue_photos(database, 1, embedded=False)
    rename(database, {"renew_match_leases": "of_another_version"})
    calls = 0

    async def extract(_: str) -> None:
        nonlocal calls
        calls += 1
        if calls == 1:
            await asyncio.Event().wait()

    async with run_worker(database, extract, **QUICK, heartbeat_s=0.5), observe(database) as db:
        await db.wait_until(ALL_DONE)

    assert calls >= 2
    assert list(outcomes(database).values()) == [COMPLETED]
