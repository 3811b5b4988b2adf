"""Uploads past a bound, or to a disk that is nearly full, are refused early; others all finish."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import psycopg
import pytest

from automatch.errors.store import QueueFullError
from automatch.services.photos.admission import CHECK_INTERVAL_S, Admission
from automatch.settings import Settings
from automatch.settings.database import PoolSettings
from automatch.settings.server import UploadSettings
from automatch.settings.storage import RetentionSettings
from automatch.store.database import Database as Pool
from automatch.vision import Embedder
from tests.http.test_errors import check
from tests.support.build import a_face, a_job, a_profile, connect
from tests.support.kept_pools import KeptDatabase
from tests.support.photos import astronaut, encode, hopper
from tests.support.postgres import Database, TestCluster
from tests.support.raw_http import traces, upload_head, wire
from tests.support.system import PASSWORD, Person, System, running_server, running_worker
from tests.support.waiting import PATIENCE_S

pytestmark = pytest.mark.anyio


def _bounded(settings: Settings, max_waiting: int) -> Settings:
    return settings.model_copy(update={"upload": UploadSettings(max_waiting=max_waiting)})


def _without_room(settings: Settings) -> Settings:
    retention = RetentionSettings(min_free_mb=10**9)
    return settings.model_copy(update={"retention": retention})


async def _refused_before_the_body(system: System, person: Person) -> tuple[int, str, str]:
    async with wire(system) as connection:
        await connection.send(upload_head(person.token, "Content-Length: 1000000"))
        answer = await connection.answer()
    return answer.status, answer.code, answer.headers["retry-after"]


async def test_full_queue_refuses_uploads_before_their_body(
    settings: Settings, cluster: TestCluster, database: Database
) -> None:
    async with running_server(_bounded(settings, 1), cluster.secrets, database) as system:
        first, second = await system.join(), await system.join()
        assert (await first.upload(encode(astronaut()))).status_code == 202
        before = traces(system)

        refused = await second.upload(encode(astronaut()))

        check(refused, 503, "queue_full")
        assert refused.headers["retry-after"] == "30"
        assert await _refused_before_the_body(system, second) == (503, "queue_full", "30")
        assert traces(system) == before


async def test_same_photo_again_takes_no_place(
    settings: Settings, cluster: TestCluster, database: Database
) -> None:
    async with running_server(_bounded(settings, 2), cluster.secrets, database) as system:
        person = await system.join()
        for photo in (astronaut(), astronaut(), hopper()):
            assert (await person.upload(encode(photo))).status_code == 202


async def test_form_of_the_page_is_refused_with_the_reason_beside_it(
    settings: Settings, cluster: TestCluster, database: Database
) -> None:
    async with running_server(_bounded(settings, 1), cluster.secrets, database) as system:
        person = await system.join()
        assert (await person.upload(encode(astronaut()))).status_code == 202
        page = {"origin": system.url}
        sign_in = {"email": person.email, "password": PASSWORD}
        await system.client.post("/sign-in", data=sign_in, headers=page)
        file = {"file": ("photo.jpg", encode(hopper()))}

        shown = await system.client.post("/upload", files=file, headers=page)
        reply = await system.client.post(
            "/upload", files=file, headers=page | {"accept": "application/json"}
        )

        assert (shown.status_code, shown.headers["retry-after"]) == (503, "30")
        assert "Lots of photos are waiting right now" in shown.text
        assert 'id="upload-form"' in shown.text
        check(reply, 503, "queue_full")


async def test_accepted_photos_all_finish_and_make_room(
    settings: Settings, cluster: TestCluster, database: Database, embedder: Embedder
) -> None:
    async with running_server(_bounded(settings, 3), cluster.secrets, database) as system:
        people = [await system.join() for _ in range(8)]
        answers = [await person.upload(encode(astronaut())) for person in people]
        accepted = [
            (person, answer.json()["job"]["id"])
            for person, answer in zip(people, answers, strict=True)
            if answer.status_code == 202
        ]
        assert [answer.status_code for answer in answers] == [202] * 3 + [503] * 5
        async with running_worker(settings, cluster.secrets, embedder):
            ended = [await person.ended(job_id) for person, job_id in accepted]

            async with asyncio.timeout(PATIENCE_S):
                while (await people[-1].upload(encode(astronaut()))).status_code == 503:
                    pass

    assert [job["status"] for job in ended] == ["completed"] * 3


async def test_disk_without_room_refuses_uploads_before_their_body(
    settings: Settings, cluster: TestCluster, database: Database
) -> None:
    async with running_server(_without_room(settings), cluster.secrets, database) as system:
        person = await system.join()
        before = traces(system)

        check(await person.upload(encode(astronaut())), 503, "storage_full")
        assert await _refused_before_the_body(system, person) == (503, "storage_full", "5")
        assert traces(system) == before
        check(await system.client.get("/readyz"), 503, "storage_full")
        # Reading goes on.
        assert (await person.get("/api/faces")).status_code == 200


class Clock:
    """A clock that stands still until it is moved."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
async def pool(database: Database) -> AsyncIterator[Pool]:
    async with KeptDatabase(database.api, PoolSettings(), name="test") as pool:
        yield pool


def _queue_one(database: Database) -> None:
    with connect(database.owner) as conn:
        a_job(conn, a_face(conn, a_profile(conn)))


async def test_queue_is_looked_at_once_a_second_and_own_uploads_are_counted(
    database: Database, pool: Pool, tmp_path: Path
) -> None:
    clock = Clock()
    admission = Admission(pool, max_waiting=2, folders=[tmp_path], min_free_mb=0, clock=clock)
    await admission.check()
    # Of another process: seen with the next look.
    for _ in range(2):
        _queue_one(database)
    await admission.check()
    clock.now += CHECK_INTERVAL_S
    with pytest.raises(QueueFullError):
        await admission.check()
    with psycopg.connect(database.owner) as conn:
        conn.execute("delete from public.match_jobs")
    clock.now += CHECK_INTERVAL_S
    await admission.check()
    admission.count_accepted()
    await admission.check()
    admission.count_accepted()

    with pytest.raises(QueueFullError):
        await admission.check()


async def test_many_uploads_at_once_share_one_look(pool: Pool, tmp_path: Path) -> None:
    counted: list[int] = []

    class Watched(Clock):
        def __call__(self) -> float:
            counted.append(1)
            return self.now

    admission = Admission(pool, max_waiting=2, folders=[tmp_path], min_free_mb=0, clock=Watched())
    await asyncio.gather(*(admission.check() for _ in range(50)))

    # Each asks the clock twice, and whoever looks once more.
    assert len(counted) == 101
