"""Photos in a bucket: what others see of them there, and what happens while it is away."""

from __future__ import annotations

import socket
from uuid import uuid4

import httpx2
import psycopg
import pytest
from PIL import ImageOps

from automatch.errors.store import PhotoStorageError
from automatch.photos.bucket import BucketPhotos
from automatch.photos.make import make_photos
from automatch.photos.store import MARK, photo_path
from automatch.settings import Settings
from automatch.settings.storage import PhotoSettings
from automatch.settings.worker import WorkerSettings
from automatch.store.database import Database as Pool
from automatch.worker.maintenance import MaintenanceRunner
from tests.support.bucket import client_of
from tests.support.photos import astronaut, encode
from tests.support.system import System, running_worker
from tests.support.waiting import PATIENCE_S

pytestmark = pytest.mark.anyio


@pytest.fixture
def settings(settings: Settings, bucket: PhotoSettings) -> Settings:
    """Give settings with a bucket of the test's own."""
    return settings.model_copy(update={"photos": bucket})


def names(bucket: PhotoSettings) -> list[str]:
    listed = client_of(bucket).list_objects_v2(Bucket=bucket.bucket)
    return [item["Key"] for item in listed.get("Contents", []) if item["Key"] != MARK]


async def test_people_meet_and_leave_nothing_in_the_bucket(
    system: System, bucket: PhotoSettings
) -> None:
    her = await system.join("female")
    him = await system.join("male")
    await her.matched(encode(astronaut()))
    await him.matched(encode(ImageOps.mirror(astronaut())))
    [match] = await her.feed()
    shown = await system.client.get(match["face"]["image_url"])
    assert (shown.status_code, shown.headers["content-type"]) == (200, "image/jpeg")
    assert sorted({name.rpartition("/")[2] for name in names(bucket)}) == ["full.jpg", "thumb.jpg"]
    assert not (system.settings.home / "photos").exists()

    for person in (her, him):
        await system.client.delete("/api/profile", headers=person.headers)
    async with Pool(system.database.worker, system.settings.pool, name="test") as db:
        maintenance = MaintenanceRunner(
            db, make_photos(system.settings), WorkerSettings(), system.settings.retention
        )
        await maintenance.photos.erase_photos()

    assert names(bucket) == []


async def test_objects_are_open_to_nobody_without_the_key(
    server: System, bucket: PhotoSettings
) -> None:
    person = await server.join()
    await person.upload(encode(astronaut()))
    [name] = names(bucket)
    grants = client_of(bucket).get_object_acl(Bucket=bucket.bucket, Key=name)["Grants"]

    async with httpx2.AsyncClient(timeout=60) as stranger:
        answer = await stranger.get(f"{bucket.endpoint}/{bucket.bucket}/{name}")

    assert answer.status_code == 403
    assert [grant["Grantee"].get("URI") for grant in grants] == [None]


async def test_trouble_of_the_storage_is_told_and_costs_a_job_no_attempt(
    server: System, settings: Settings, embedder, cluster
) -> None:
    person = await server.join()
    face = (await person.upload(encode(astronaut()))).json()["face"]["id"]
    wrong = settings.photos.model_copy(update={"bucket": "another"})

    with pytest.raises(PhotoStorageError):
        await BucketPhotos(wrong).put_upload(photo_path(uuid4()), b"upload")
    # Not "there is no such photo", which would end a job for good.
    with pytest.raises(PhotoStorageError):
        await BucketPhotos(wrong).read(photo_path(uuid4()))
    away = settings.model_copy(
        update={"photos": settings.photos.model_copy(update={"endpoint": "http://127.0.0.1:9"})}
    )
    with pytest.raises(PhotoStorageError):
        await make_photos(away).read(photo_path(uuid4()))
    async with await psycopg.AsyncConnection.connect(
        server.database.owner, autocommit=True
    ) as conn:
        # Before a worker can give the job back, which it tells all workers.
        await conn.execute("listen automatch_jobs")
        async with running_worker(away, cluster.secrets, embedder) as worker:
            async for _ in conn.notifies(timeout=PATIENCE_S, stop_after=1):
                break
            else:
                pytest.fail("no job was given back")
            worker.stop()
    with psycopg.connect(server.database.owner) as conn:
        assert conn.execute(
            "select status, attempts from public.match_jobs where face_id = %s", [face]
        ).fetchall() == [("pending", 0)]


async def test_upload_is_refused_while_the_storage_is_away(
    server: System, settings: Settings
) -> None:
    person = await server.join()
    client_of(settings.photos).delete_object(Bucket=settings.photos.bucket, Key=MARK)
    client_of(settings.photos).delete_bucket(Bucket=settings.photos.bucket)

    answer = await person.upload(encode(astronaut()))

    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "storage_unavailable")
    assert (await person.get("/api/faces")).json()["faces"] == []


async def test_storage_that_does_not_answer_is_given_up(bucket: PhotoSettings) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        hanging = bucket.model_copy(
            update={
                "endpoint": f"http://127.0.0.1:{silent.getsockname()[1]}",
                "timeout_s": 0.3,
            }
        )
        with pytest.raises(PhotoStorageError):
            await BucketPhotos(hanging).put_upload(photo_path(uuid4()), b"upload")
