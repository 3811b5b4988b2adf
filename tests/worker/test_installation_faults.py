"""Faults of the installation: they are nobody's photo's fault, and are seen by operators."""

from __future__ import annotations

import psycopg
import pytest
from psycopg import sql

from automatch.settings import Settings
from automatch.vision import Embedder
from tests.support.photos import astronaut, encode
from tests.support.postgres import Database, TestCluster
from tests.support.scheduling import eventually
from tests.support.system import running_server, running_worker

pytestmark = pytest.mark.anyio


def rename(database: Database, old: str, new: str) -> None:
    with psycopg.connect(database.owner, autocommit=True) as conn:
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
    rename(database, function, "of_another_version")
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

        rename(database, "of_another_version", function)

        ended = await her.ended(answer.json()["job"]["id"])
        assert (ended["status"], ended["attempts"]) == ("completed", 1)
        await eventually(
            database.owner, "select where not exists (select from automatch.worker_faults)"
        )


async def status(database: Database) -> tuple[str, int]:
    [row] = await eventually(database.owner, "select status, attempts from public.match_jobs")
    return row
