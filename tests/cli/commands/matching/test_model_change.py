"""Changing the model of a running system: real photos, real workers, a tiny second model."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import psycopg
import pytest
from structlog.testing import capture_logs

from automatch.settings import Settings
from automatch.settings.worker import WorkerSettings
from tests.support.build import connect, one
from tests.support.command import call_command, environment
from tests.support.forks import ForkedProcess
from tests.support.onnx_models import add_model, tiny_model
from tests.support.photos import encode, hopper, portrait, scene_without_face
from tests.support.postgres import Database, TestCluster
from tests.support.system import Person, System, running_worker
from tests.support.waiting import logged, wait_until
from tests.support.worker_processes import WorkerProcesses, worker_processes

pytestmark = pytest.mark.anyio
MODEL = "tiny"
DIMENSIONS = 48


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """Look for a change often."""
    worker = WorkerSettings(poll_s=600, sweep_s=0.1)
    return settings.model_copy(update={"worker": worker})


@pytest.fixture(autouse=True)
def tiny(settings: Settings, cluster: TestCluster) -> Path:
    """Put a second model into the data folder, to which only copies of one photo are alike."""
    settings.home.mkdir(mode=0o700, exist_ok=True)
    secrets = settings.home / "secrets.json"
    secrets.write_bytes((cluster.settings.home / "secrets.json").read_bytes())
    secrets.chmod(0o600)
    return add_model(
        settings.home,
        MODEL,
        tiny_model(DIMENSIONS, side=150),
        dimensions=DIMENSIONS,
        midpoint=0.3,
        width=0.03,
    )


@pytest.fixture
def watcher(database: Database) -> Iterator[psycopg.Connection]:
    with connect(database.owner, autocommit=True) as conn:
        yield conn


def automatch(settings: Settings, database: Database, *arguments: str) -> str:
    """Run a command of `automatch models` on the test's database; what it printed."""
    answer = call_command(settings.home, "models", *arguments, DATABASE_URL=database.owner)
    assert answer.returncode == 0, answer.stderr
    return answer.stdout


async def command(settings: Settings, database: Database, *arguments: str) -> str:
    return await asyncio.to_thread(automatch, settings, database, *arguments)


@asynccontextmanager
async def watching(settings: Settings, database: Database) -> AsyncIterator[subprocess.Popen[str]]:
    """Run `automatch models use` beside the test, without agreeing to anything."""
    process = ForkedProcess(
        [sys.executable, "-m", "automatch", "models", "use", MODEL],
        env=environment(settings.home) | {"AUTOMATCH_DATABASE_URL": database.owner},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        await asyncio.to_thread(process.communicate)


def embeddings(conn: psycopg.Connection) -> dict[str, int]:
    """How many faces are known with how many numbers, by model."""
    rows = conn.execute(
        "select model, vector_dims(embedding), count(*) from public.face_embeddings"
        " where model = public.active_embedding_model() group by 1, 2"
    ).fetchall()
    return {f"{model}:{dimensions}": count for model, dimensions, count in rows}


def indexed(conn: psycopg.Connection, model: str | None = None) -> int:
    """How many faces can be found by a model; by the one in use unless another is named."""
    return one(
        conn,
        "select count(*) from public.face_index"
        " where model = coalesce(%s, public.active_embedding_model())",
        model,
    )


async def wait(condition, what: str):
    return await asyncio.to_thread(wait_until, condition, what)


async def couple(system: System) -> tuple[Person, Person]:
    """Let a woman and a man upload photos that show one face."""
    she, he = await system.join("female"), await system.join("male")
    assert (await she.matched(portrait(1)))["status"] == "completed"
    assert (await he.matched(portrait(2)))["match_count"] == 1
    return she, he


def by_model(conn: psycopg.Connection) -> dict[str, int]:
    """How many matches are scored with each model."""
    rows = conn.execute(
        "select s.model, count(*) from public.matches as m"
        " join automatch.similarity_scales as s on s.version = m.scale_version group by 1"
    ).fetchall()
    return dict(rows)


async def test_the_model_changes_while_people_upload_and_back(
    system: System, settings: Settings, database: Database, watcher: psycopg.Connection
) -> None:
    she, he = await couple(system)
    stranger = await system.join("male")
    # Another face, which dlib finds alike.
    assert (await stranger.matched(encode(hopper())))["match_count"] == 1
    assert embeddings(watcher) == {"dlib:128": 3}

    told = await command(settings, database, "use", MODEL)
    assert (
        "sample of 3 photos: 4 matches now, 2 with the new model; 2 in both, 2 lost, 0 gained"
        in told
    )
    assert f"Put {MODEL} in use? Confirm with --yes" in told
    assert embeddings(watcher) == {"dlib:128": 3}
    # Comes in after everything was seen: by both models, before the change can be finished.
    assert (await he.matched(portrait(3)))["status"] == "completed"
    assert f"{MODEL} is in use; it has embedded 4 photos" in await command(
        settings, database, "use", MODEL, "--yes"
    )

    assert embeddings(watcher) == {f"{MODEL}:{DIMENSIONS}": 4}
    # The worker that was running all the time uses it, and finds by it.
    job = await stranger.matched(portrait(4))
    assert (job["status"], job["match_count"]) == ("completed", 1)
    assert embeddings(watcher) == {f"{MODEL}:{DIMENSIONS}": 5}
    await wait(lambda: by_model(watcher) == {MODEL: 3, "dlib": 1}, "matches that followed")
    assert len(await she.feed()) == 2

    told = await command(settings, database, "rollback", "--yes")
    assert "dlib is in use again; it is embedding 1 photos" in told
    await wait(lambda: embeddings(watcher) == {"dlib:128": 5}, "the last photo seen by dlib")
    assert (await she.matched(portrait(5)))["status"] == "completed"
    await wait(lambda: set(by_model(watcher)) == {"dlib"}, "matches that went back")
    await command(settings, database, "use", MODEL, "--yes")
    assert "dlib is retired" in await command(settings, database, "retire", "--yes")
    await wait(lambda: set(by_model(watcher)) == {MODEL}, "matches of dlib alone gone")
    assert await command(settings, database, "status") == f"{MODEL} is in use.\n"


async def test_a_photo_that_shows_nobody_any_more_is_told_with_its_reason(
    system: System, settings: Settings, database: Database, watcher: psycopg.Connection
) -> None:
    she, _ = await couple(system)
    folder = settings.home / "photos"
    path, face = watcher.execute(
        "select image_path, id from public.faces where profile_id = %s", [she.id]
    ).fetchone()
    (folder / f"{path}.jpg").write_bytes(encode(scene_without_face()))

    told = await command(settings, database, "use", MODEL, "--yes")

    assert "Refused, no_face: 1 photos (No face was found" in told
    assert str(face) in told
    assert "it has embedded 1 photos" in told
    assert str(face) in await command(settings, database, "status")
    assert indexed(watcher) == 1


async def test_searchers_see_one_model_or_the_other_and_never_both(
    system: System, settings: Settings, database: Database, watcher: psycopg.Connection
) -> None:
    she, _ = await couple(system)
    await command(settings, database, "use", MODEL)
    stop = asyncio.Event()
    outcomes: set[tuple[str, int, int]] = set()

    def search() -> None:
        # As a job does: the embedding and those it is compared with, in one statement.
        with connect(database.owner, autocommit=True) as conn:
            while not stop.is_set():
                row = conn.execute(
                    "select e.model, vector_dims(e.embedding), count(s.face_id)"
                    " from public.faces as f join public.face_embeddings as e"
                    " on e.face_id = f.id and e.model = public.active_embedding_model()"
                    " left join lateral public.find_similar_faces_filtered("
                    " e.embedding, 'UIT', 'female', f.profile_id, 0.1) as s on true"
                    " where f.profile_id = %s group by 1, 2",
                    [she.id],
                ).fetchone()
                outcomes.add(row)

    searching = [asyncio.create_task(asyncio.to_thread(search)) for _ in range(2)]
    try:
        for change in (("use", MODEL, "--yes"), ("rollback", "--yes"), ("use", MODEL, "--yes")):
            await command(settings, database, *change)
    finally:
        stop.set()
        await asyncio.gather(*searching)

    assert outcomes == {("dlib", 128, 1), (MODEL, DIMENSIONS, 1)}


async def test_a_worker_with_nothing_to_do_does_not_hold_the_change_up(
    server: System, settings: Settings, database: Database, cluster: TestCluster, embedder
) -> None:
    async with (
        watching(settings, database) as process,
        running_worker(settings, cluster.secrets, embedder),
    ):
        told, _ = await asyncio.to_thread(process.communicate, timeout=60)

    assert "a sample of 0 photos" in told
    assert process.returncode == 0


@pytest.fixture
def workers(
    settings: Settings, cluster: TestCluster, database: Database
) -> Iterator[WorkerProcesses]:
    """Give workers as processes on the data folder of the test."""
    with worker_processes(
        cluster,
        settings.home,
        database.owner,
        # Not shorter: on a busy machine a photo takes seconds, and is given up after some attempts.
        worker__lease_s=5,
        worker__heartbeat_s=1,
        worker__sweep_s=0.1,
        worker__poll_s=1,
        vision__threads=1,
        retention__min_free_mb=0,
    ) as processes:
        yield processes


async def _filled(server: System, settings: Settings, cluster: TestCluster, embedder) -> None:
    async with running_worker(settings, cluster.secrets, embedder):
        for number in range(3):
            person = await server.join("female" if number % 2 else "male")
            for photo in (portrait(2 * number), portrait(2 * number + 1)):
                assert (await person.matched(photo))["status"] == "completed"


async def test_killed_anywhere_it_goes_on(
    server: System,
    settings: Settings,
    database: Database,
    cluster: TestCluster,
    embedder,
    watcher: psycopg.Connection,
    workers: WorkerProcesses,
) -> None:
    await _filled(server, settings, cluster, embedder)
    seen = "select done from automatch.model_changes"
    # The command alone, killed before a worker has looked at anything.
    async with watching(settings, database):
        await wait(lambda: one(watcher, "select count(*) from automatch.model_changes"), "begun")
    # A worker, killed in the middle of photos.
    (worker,) = await asyncio.to_thread(workers.start_ready, 1)
    await wait(lambda: one(watcher, seen) >= 2, "2 photos seen")
    worker.send(signal.SIGKILL)
    await asyncio.to_thread(worker.process.wait, 30)
    assert embeddings(watcher) == {"dlib:128": 6}
    # Another command while another worker goes on, and that killed as well.
    await asyncio.to_thread(workers.start_ready, 1)
    async with watching(settings, database):
        await wait(lambda: one(watcher, seen) >= 4, "4 photos seen")
    assert "6 photos" in await command(settings, database, "use", MODEL, "--yes")

    assert embeddings(watcher) == {f"{MODEL}:{DIMENSIONS}": 6}
    assert indexed(watcher) == 6
    await wait(lambda: one(watcher, "select rescored from automatch.model_changes"), "scores")


async def test_a_worker_without_the_file_says_so_and_works_on(
    server: System,
    settings: Settings,
    database: Database,
    cluster: TestCluster,
    embedder,
    watcher: psycopg.Connection,
    tiny: Path,
) -> None:
    she = await server.join("female")
    async with running_worker(settings, cluster.secrets, embedder):
        assert (await she.matched(portrait(1)))["status"] == "completed"
    async with watching(settings, database):
        await wait(lambda: one(watcher, "select count(*) from automatch.model_changes"), "begun")
    model = tiny.read_bytes()
    tiny.unlink()
    # The photos that it could not see are its own until their leases end.
    brief = settings.worker.model_copy(update={"lease_s": 2.0, "heartbeat_s": 0.5})

    with capture_logs() as logs:
        async with running_worker(
            settings.model_copy(update={"worker": brief}), cluster.secrets, embedder
        ):
            await logged(logs, "embedding backfill failed")
            assert (await she.matched(portrait(2)))["status"] == "completed"
            tiny.write_bytes(model)

            assert "2 photos" in await command(settings, database, "use", MODEL, "--yes")
