"""The worker: errors, lost leases, and stopping."""

from __future__ import annotations

import asyncio
import stat
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import numpy as np
import psycopg
import pytest
from psycopg.rows import dict_row

from automatch.errors.embedder import EmbeddingInvalidError
from automatch.errors.store import DatabaseNewerError
from automatch.model.jobs import ClaimedJob
from automatch.photos.store import MARK
from automatch.settings import Settings
from automatch.settings.worker import WorkerSettings
from automatch.store.installation.schema_version import SCHEMA
from automatch.store.queue import queue
from automatch.vision import DlibEmbedder, Embedder
from automatch.worker import worker
from tests.support import build
from tests.support.build import set_schema_version
from tests.support.embedder import FakeEmbedder
from tests.support.photos import astronaut, encode, hopper
from tests.support.postgres import Database, TestCluster
from tests.support.system import Person, System, running_worker
from tests.support.waiting import PATIENCE_S, until
from tests.support.worker import observe, open_fake_worker, run_worker

pytestmark = pytest.mark.anyio


class BlockingEmbedder(FakeEmbedder):
    """An embedder that signals when it is called, and returns when the test allows it."""

    model_id = "dlib"
    dimensions = 128

    def __init__(self) -> None:
        self.called = threading.Event()
        self.may_return = threading.Event()
        self._warm = False

    def embed(self, chips: np.ndarray) -> np.ndarray:
        if self._warm:
            self.called.set()
            assert self.may_return.wait(PATIENCE_S)
        # The first call is the worker trying its model before it claims anything.
        self._warm = True
        rows = np.ones((len(chips), self.dimensions), np.float32)
        return rows / np.linalg.norm(rows, axis=1, keepdims=True)


class BrokenEmbedder(BlockingEmbedder):
    """An embedder that raises the given error."""

    def __init__(self, error: Exception) -> None:
        super().__init__()
        self._error = error

    def embed(self, chips: np.ndarray) -> np.ndarray:
        if self._warm:
            raise self._error
        return super().embed(chips)


def _with_worker_settings(settings: Settings, **more: Any) -> Settings:
    worker = WorkerSettings(poll_s=600, **more)
    return settings.model_copy(update={"worker": worker})


async def _upload(server: System) -> tuple[Person, str]:
    person = await server.join()
    answer = await person.upload(encode(astronaut()))
    return person, answer.json()["job"]["id"]


async def _row(system: System, job_id: str) -> dict[str, Any]:
    async with await psycopg.AsyncConnection.connect(
        system.database.owner, row_factory=dict_row
    ) as conn:
        cursor = await conn.execute("select * from match_jobs where id = %s", [job_id])
        row = await cursor.fetchone()
        assert row is not None
        return row


async def _has_failed(system: System, job_id: str) -> bool:
    return (await _row(system, job_id))["error_code"] is not None


async def _wait_until_called(embedder: BlockingEmbedder) -> None:
    assert await asyncio.to_thread(embedder.called.wait, PATIENCE_S)


@pytest.fixture
async def owner(server: System) -> AsyncIterator[psycopg.AsyncConnection]:
    async with await psycopg.AsyncConnection.connect(
        server.database.owner, autocommit=True
    ) as conn:
        yield conn


async def test_stopping_releases_unfinished_jobs_without_an_attempt(
    server: System, settings: Settings, cluster: TestCluster
) -> None:
    _, job_id = await _upload(server)
    embedder = BlockingEmbedder()

    async with running_worker(
        _with_worker_settings(settings, shutdown_timeout_s=0.05), cluster.secrets, embedder
    ) as worker:
        await _wait_until_called(embedder)
        worker.stop()
        asyncio.get_running_loop().call_later(0.3, embedder.may_return.set)

    row = await _row(server, job_id)
    assert (row["status"], row["attempts"]) == ("pending", 0)


async def test_stopping_completes_running_jobs(
    server: System, settings: Settings, cluster: TestCluster
) -> None:
    _, job_id = await _upload(server)
    embedder = BlockingEmbedder()

    async with running_worker(
        _with_worker_settings(settings, shutdown_timeout_s=30), cluster.secrets, embedder
    ) as worker:
        await _wait_until_called(embedder)
        worker.stop()
        embedder.may_return.set()

    assert (await _row(server, job_id))["status"] == "completed"


async def test_stopping_releases_jobs_whose_claim_was_committed_while_it_was_cancelled(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    with build.connect(database.owner) as conn:
        build.a_job(conn, build.a_face(conn, build.a_profile(conn)))
    claimed, claim_jobs = asyncio.Event(), queue.claim_jobs

    async def claim_unheard(*arguments: Any) -> list[ClaimedJob]:
        if await claim_jobs(*arguments):
            claimed.set()
            await asyncio.Event().wait()
        return []

    monkeypatch.setattr(queue, "claim_jobs", claim_unheard)
    async with run_worker(database, shutdown_timeout_s=0.05), observe(database) as db:
        await claimed.wait()
        assert await db.rows("select status from match_jobs") == [("processing",)]

    async with observe(database) as db:
        rows = await db.rows("select status, attempts, isolated from match_jobs")
    assert rows == [("pending", 0, False)]


async def test_worker_that_lost_its_job_writes_nothing(
    server: System, settings: Settings, cluster: TestCluster, owner: psycopg.AsyncConnection
) -> None:
    _, job_id = await _upload(server)
    embedder = BlockingEmbedder()

    async with running_worker(
        _with_worker_settings(settings, sweep_s=600), cluster.secrets, embedder
    ) as worker:
        await _wait_until_called(embedder)
        # At once, or the worker may renew the lease in between.
        async with owner.transaction():
            await owner.execute(
                "update match_jobs set lease_expires_at = now() - interval '1 second'"
                " where id = %s",
                [job_id],
            )
            # Retried after a long delay, so that this worker does not claim it again at once.
            cursor = await owner.execute("select sweep_match_jobs(500, 500)")
            assert await cursor.fetchone() == (1,)
        worker.stop()
        embedder.may_return.set()

    row = await _row(server, job_id)
    assert (row["status"], row["error_code"]) == ("pending", "worker_lost")
    cursor = await owner.execute("select count(*) from face_embeddings")
    assert await cursor.fetchone() == (0,)


@pytest.mark.parametrize(
    ("error", "code"),
    [(EmbeddingInvalidError(), "embedding_invalid"), (ValueError("secret"), "job_crashed")],
    ids=["ours", "unexpected"],
)
async def test_transient_error_is_retried_later(
    server: System, settings: Settings, cluster: TestCluster, error: Exception, code: str
) -> None:
    person, job_id = await _upload(server)

    async with (
        person.stream() as events,
        running_worker(
            _with_worker_settings(settings, backoff_s=60), cluster.secrets, BrokenEmbedder(error)
        ),
    ):
        async for event in events:
            if event.kind == "job" and event.data["error"]:
                break

    row = await _row(server, job_id)
    assert (row["status"], row["attempts"], row["error_code"]) == ("pending", 1, code)
    assert row["run_at"] > row["created_at"]
    assert "secret" not in row["error_message"]


async def test_job_fails_with_its_last_error_after_all_attempts(
    server: System, settings: Settings, cluster: TestCluster
) -> None:
    person, job_id = await _upload(server)
    fast_retries = _with_worker_settings(settings, backoff_s=0.01, backoff_max_s=0.01)

    async with running_worker(
        fast_retries, cluster.secrets, BrokenEmbedder(EmbeddingInvalidError())
    ):
        job = await person.ended(job_id)

    assert (job["status"], job["attempts"]) == ("failed", 5)
    assert job["error"] == {
        "code": "embedding_invalid",
        "message": "Something went wrong while looking at the photo.",
    }
    row = await _row(server, job_id)
    assert {name for name in row["timings"] if not name.endswith("_ms")} == set()


async def test_one_crashing_photo_does_not_stop_the_others(
    server: System, settings: Settings, cluster: TestCluster, embedder: Embedder
) -> None:
    class FailingEmbedder(DlibEmbedder):
        def embed(self, chips: np.ndarray) -> np.ndarray:
            if len(chips) and poison is not None and np.array_equal(chips[0], poison):
                raise MemoryError
            embedded.append(chips)
            return embedder.embed(chips)

    embedded: list[np.ndarray] = []
    poison: np.ndarray | None = None
    first, second = await server.join(), await server.join("male")

    async with running_worker(
        _with_worker_settings(settings, backoff_s=60), cluster.secrets, FailingEmbedder()
    ):
        await first.matched(encode(astronaut()))
        poison = embedded[-1][0]
        poisoned = (await second.upload(encode(astronaut()))).json()["job"]["id"]
        job = await second.matched(encode(hopper()))
        # Another batch may have ended first.
        await until(lambda: _has_failed(server, poisoned))

    assert job["status"] == "completed"
    assert (await _row(server, poisoned))["error_code"] == "job_crashed"


async def test_job_without_a_notification_is_found_by_the_poll(
    server: System, settings: Settings, cluster: TestCluster, embedder: Embedder
) -> None:
    person, job_id = await _upload(server)
    polling = settings.model_copy(update={"worker": WorkerSettings(poll_s=0.2)})
    async with running_worker(polling, cluster.secrets, embedder):
        await person.ended(job_id)
        async with await psycopg.AsyncConnection.connect(server.database.owner) as conn:
            # As an SQL editor would, without enqueue_match_job() and its notification.
            await conn.execute(
                "insert into match_jobs (face_id, user_id, school)"
                " select face_id, user_id, school from match_jobs where id = %s",
                [job_id],
            )
            cursor = await conn.execute("select id from match_jobs where id <> %s", [job_id])
            row = await cursor.fetchone()
            assert row is not None

        job = await person.ended(str(row[0]))

    assert job["status"] == "completed"


async def test_worker_continues_when_its_connections_are_terminated(
    system: System, owner: psycopg.AsyncConnection
) -> None:
    person = await system.join()

    cursor = await owner.execute(
        "select pid from pg_stat_activity, pg_terminate_backend(pid)"
        " where usename in ('automatch_worker', 'automatch_api') and datname = current_database()"
    )
    ended = [pid for (pid,) in await cursor.fetchall()]

    async def are_gone() -> bool:
        left = await owner.execute("select from pg_stat_activity where pid = any (%s)", [ended])
        return await left.fetchone() is None

    # One that is about to end would still take the upload, which would be answered 503.
    await until(are_gone)

    assert (await person.matched(encode(astronaut())))["status"] == "completed"


async def test_analyzed_photo_is_stored_re_encoded_and_the_upload_is_deleted(
    system: System, settings: Settings
) -> None:
    person = await system.join()

    await person.matched(encode(astronaut()))

    names = sorted(path.name.partition(".")[2] for path in _photos(settings.home))
    assert names == ["jpg", "thumb.jpg"]
    for path in [settings.home / "photos", *(settings.home / "photos").rglob("*")]:
        assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600), path


async def test_photos_of_an_erased_face_are_deleted(
    server: System, settings: Settings, cluster: TestCluster, embedder: Embedder
) -> None:
    person = await server.join()
    async with running_worker(settings, cluster.secrets, embedder):
        job = await person.matched(encode(astronaut()))
    assert _photos(settings.home)

    answer = await server.client.delete(f"/api/faces/{job['face_id']}", headers=person.headers)
    assert answer.status_code == 204
    async with running_worker(settings, cluster.secrets, embedder):
        # Every maintenance task runs once at the start.
        await until(lambda: not _photos(settings.home))

    assert (await person.get("/api/faces")).json() == {"faces": []}


def _photos(home: Path) -> list[Path]:
    return [path for path in (home / "photos").rglob("*") if path.is_file() and path.name != MARK]


@pytest.mark.parametrize(("asks_s", "poll_s"), [(0.05, 60), (600, 0.05)], ids=["asks", "sees"])
async def test_worker_works_on_the_next_schema_and_ends_once_one_has_left_it_behind(
    database: Database, monkeypatch: pytest.MonkeyPatch, asks_s: float, poll_s: float
) -> None:
    monkeypatch.setattr(worker, "_SCHEMA_S", asks_s)
    set_schema_version(database.owner, SCHEMA + 1, SCHEMA)
    with build.connect(database.owner) as conn:
        job = build.a_job(conn, build.a_face(conn, build.a_profile(conn)))
    async with open_fake_worker(database, poll_s=poll_s) as running, observe(database) as db:
        working = asyncio.create_task(running.run())
        await db.wait_until("select status = 'completed' from match_jobs where id = %s", job)
        assert not working.done()
        set_schema_version(database.owner, SCHEMA + 2, SCHEMA + 1)

        with pytest.raises(DatabaseNewerError, match="install the version that migrated it"):
            await working
