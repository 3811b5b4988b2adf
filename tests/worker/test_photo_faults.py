"""Photos that cannot be read: because they are elsewhere, or because they are gone."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from uuid import UUID

import psycopg
import pytest

from automatch.errors.configuration import WrongPhotoStoreError
from automatch.errors.job import PhotoMissingError
from automatch.photos.make import make_photos
from automatch.photos.store import photo_path
from automatch.settings import Settings
from automatch.settings.storage import PhotoSettings
from automatch.vision import Embedder
from automatch.worker_app import open_worker
from tests.support import worker as support
from tests.support.bucket import client_of
from tests.support.build import a_face, a_job, a_profile, connect
from tests.support.photos import astronaut, encode
from tests.support.postgres import Database, TestCluster
from tests.support.scheduling import eventually
from tests.support.system import running_server, running_worker

pytestmark = pytest.mark.anyio


def impatient(settings: Settings) -> Settings:
    worker = settings.worker.model_copy(update={"outage_pause_max_s": 0.1, "backoff_s": 0.1})
    return settings.model_copy(update={"worker": worker})


@pytest.mark.parametrize("kind", ["folder", "bucket"])
async def test_worker_with_other_photos_does_not_start(
    settings: Settings,
    cluster: TestCluster,
    database: Database,
    embedder: Embedder,
    tmp_path: Path,
    request: pytest.FixtureRequest,
    kind: str,
) -> None:
    elsewhere = settings.model_copy(update={"home": tmp_path / "elsewhere"})
    if kind == "bucket":
        photos: PhotoSettings = request.getfixturevalue("bucket")
        other = photos.model_copy(update={"bucket": f"{photos.bucket}-other"})
        client_of(other).create_bucket(Bucket=other.bucket)
        settings = settings.model_copy(update={"photos": photos})
        elsewhere = settings.model_copy(update={"photos": other})
    async with running_server(settings, cluster.secrets, database):
        with pytest.raises(WrongPhotoStoreError, match="automatch photos adopt"):
            async with open_worker(elsewhere, cluster.secrets, embedder):
                pytest.fail("it started")


def unmount_folder(settings: Settings) -> Callable[[], None]:
    folder = settings.home / "photos"
    kept = folder.rename(folder.with_name("unmounted"))
    folder.mkdir()

    def mount() -> None:
        folder.rmdir()
        kept.rename(folder)

    return mount


def empty_bucket(settings: Settings) -> Callable[[], None]:
    client, bucket = client_of(settings.photos), settings.photos.bucket
    names = [item["Key"] for item in client.list_objects_v2(Bucket=bucket)["Contents"]]
    kept = {name: client.get_object(Bucket=bucket, Key=name)["Body"].read() for name in names}
    for name in names:
        client.delete_object(Bucket=bucket, Key=name)

    def restore() -> None:
        for name, content in kept.items():
            client.put_object(Bucket=bucket, Key=name, Body=content)

    return restore


@pytest.mark.parametrize("kind", ["folder", "bucket"])
async def test_photos_that_are_away_cost_no_attempt_and_no_erasure_and_are_told(
    settings: Settings,
    cluster: TestCluster,
    database: Database,
    embedder: Embedder,
    request: pytest.FixtureRequest,
    kind: str,
) -> None:
    settings = impatient(settings)
    if kind == "bucket":
        settings = settings.model_copy(update={"photos": request.getfixturevalue("bucket")})
    async with (
        running_server(settings, cluster.secrets, database) as system,
        running_worker(settings, cluster.secrets, embedder) as worker,
    ):
        her, him = await system.join(), await system.join("male")
        with psycopg.connect(database.owner, autocommit=True) as conn:
            conn.execute("select pause_match_jobs()")
            job = (await her.upload(encode(astronaut()))).json()["job"]["id"]
            erased = (await him.upload(encode(astronaut()))).json()["face"]["id"]
            mount = {"folder": unmount_folder, "bucket": empty_bucket}[kind](settings)
            conn.execute("select resume_match_jobs()")

            [(fault,)] = await eventually(
                database.owner, "select message from automatch.worker_faults"
            )
            assert "no mark of this database" in fault
            ready = await system.client.get("/readyz")
            code = ready.json()["error"]["code"]
            assert (ready.status_code, code) == (503, "storage_unavailable")
            await system.client.delete(f"/api/faces/{erased}", headers=him.headers)
            await worker._maintenance.photos.erase_photos()
            [(error,)] = conn.execute("select error from automatch.photo_erasures").fetchall()
            assert "no mark of this database" in error

            mount()
            ended = await her.ended(job)
            assert (ended["status"], ended["attempts"]) == ("completed", 1)
            await eventually(
                database.owner, "select where not exists (select from automatch.worker_faults)"
            )
            conn.execute("update automatch.photo_erasures set next_try_at = now()")
            await worker._maintenance.photos.erase_photos()
            assert conn.execute("select from automatch.photo_erasures").fetchall() == []
        photos = make_photos(settings)
        left = [photo.path for photo in await photos.list_page("copies", "")]
        assert left == [photo_path(UUID(ended["face_id"]))]
        assert await photos.list_page("uploads", "") == []


class CopyBehind(support.NoPhotos):
    """Photos of which some arrive later, as in a copy that is behind."""

    def __init__(self, missing: int) -> None:
        self.missing = missing

    async def read(self, path: str) -> bytes:
        if self.missing:
            self.missing -= 1
            raise PhotoMissingError
        return await super().read(path)


@pytest.mark.parametrize(
    ("missing", "end"), [(4, ("completed", 1, None)), (5, ("failed", 1, "photo_missing"))]
)
async def test_missing_file_is_looked_for_five_times_at_no_cost(
    database: Database, monkeypatch: pytest.MonkeyPatch, missing: int, end: tuple[object, ...]
) -> None:
    monkeypatch.setattr(support, "NoPhotos", lambda: CopyBehind(missing))
    with connect(database.owner, autocommit=True) as conn:
        a_job(conn, a_face(conn, a_profile(conn)))
        async with support.run_worker(database, backoff_s=0.01):
            found = (
                "select status, attempts, error_code from match_jobs where completed_at <> 'epoch'"
            )
            assert await eventually(database.owner, found) == [end]
