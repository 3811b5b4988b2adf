"""The mark that a database and its photo store share, for a folder and for a bucket."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import asynccontextmanager
from pathlib import Path
from uuid import UUID, uuid4

import psycopg
import pytest

from automatch.errors.configuration import WrongPhotoStoreError
from automatch.errors.store import PhotoStorageError
from automatch.photos.bucket import BucketPhotos
from automatch.photos.folder import FolderPhotos
from automatch.photos.store import PhotoStore
from automatch.settings.storage import PhotoSettings
from automatch.store.photos import photo_store
from automatch.store.photos.photo_store import adopt_photo_store, check_photo_store
from tests.support.bucket import client_of
from tests.support.postgres import Database
from tests.support.waiting import until

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("nobody_connected")]


@pytest.fixture(params=["folder", "bucket"])
def make(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[str], PhotoStore]:
    """Give a function that opens the photo store of a name, each time anew."""
    if request.param == "folder":
        return lambda name: FolderPhotos(tmp_path / name, min_free_mb=0)
    settings: PhotoSettings = request.getfixturevalue("bucket")

    def open_bucket(name: str) -> PhotoStore:
        own = settings.model_copy(update={"bucket": f"{settings.bucket}-{name}"})
        client_of(own).create_bucket(Bucket=own.bucket)
        return BucketPhotos(own)

    return open_bucket


@asynccontextmanager
async def transaction(dsn: str):
    async with await psycopg.AsyncConnection.connect(dsn) as conn:
        yield conn


async def serve(database: Database, photos: PhotoStore) -> None:
    """Check a store as a server does that starts."""
    async with transaction(database.api) as conn:
        await check_photo_store(conn, photos, may_claim=True)


async def work(database: Database, photos: PhotoStore) -> None:
    """Check a store as a worker does that starts."""
    async with transaction(database.worker) as conn:
        await check_photo_store(conn, photos, may_claim=False)


async def test_first_server_marks_both_and_the_others_find_the_mark(database, make) -> None:
    await serve(database, make("ours"))
    photos = make("ours")
    await serve(database, photos)
    await work(database, photos)

    assert photos.mark is not None
    assert await make("ours").read_mark() == photos.mark


async def test_worker_marks_nothing(database, make) -> None:
    photos = make("ours")

    with pytest.raises(WrongPhotoStoreError, match="no photo store yet"):
        await work(database, photos)

    assert await photos.read_mark() is None


@pytest.mark.parametrize("mark", [None, uuid4()])
@pytest.mark.parametrize("start", [serve, work])
async def test_other_store_is_refused_and_left_alone(database, make, start, mark) -> None:
    await serve(database, make("ours"))
    other = make("other")
    if mark is not None:
        await other.set_mark(mark)

    with pytest.raises(WrongPhotoStoreError, match="automatch photos adopt") as refused:
        await start(database, other)

    assert other.location in refused.value.message
    assert await other.read_mark() == mark


async def test_photos_of_another_database_are_not_taken_for_those_of_a_new_one(
    database, make
) -> None:
    photos, mark = make("theirs"), uuid4()
    await photos.set_mark(mark)

    with pytest.raises(WrongPhotoStoreError, match="another database"):
        await serve(database, photos)

    assert await photos.read_mark() == mark
    await serve(database, make("ours"))


async def test_servers_that_start_at_once_agree(database, make) -> None:
    await asyncio.gather(*(serve(database, make("ours")) for _ in range(5)))

    await work(database, make("ours"))


async def test_of_two_stores_at_once_one_wins(database, make) -> None:
    stores = [make("one"), make("other")]
    results = await asyncio.gather(
        *(serve(database, photos) for photos in stores), return_exceptions=True
    )

    refused = [result for result in results if result is not None]
    assert [type(error) for error in refused] == [WrongPhotoStoreError]


async def test_store_that_cannot_be_marked_is_not_claimed(database, tmp_path) -> None:
    (tmp_path / "file").touch()
    broken = FolderPhotos(tmp_path / "file" / "photos", min_free_mb=0)

    with pytest.raises(PhotoStorageError):
        await serve(database, broken)

    await serve(database, FolderPhotos(tmp_path / "photos", min_free_mb=0))


async def test_bucket_that_does_not_answer_at_the_start_is_checked_later(
    database, bucket: PhotoSettings
) -> None:
    await serve(database, BucketPhotos(bucket))
    away = BucketPhotos(bucket.model_copy(update={"endpoint": "http://127.0.0.1:9"}))

    await work(database, away)

    assert away.mark is not None
    with pytest.raises(PhotoStorageError):
        await away.check()


async def test_adopted_store_replaces_the_old_one(database, make) -> None:
    old, new = make("old"), make("new")
    await serve(database, old)
    await new.set_mark(UUID(int=1))

    async with transaction(database.owner) as conn:
        await adopt_photo_store(conn, new, "cli:test")

    await work(database, new)
    with pytest.raises(WrongPhotoStoreError, match="bears another mark"):
        await work(database, old)
    with psycopg.connect(database.owner) as conn:
        log = conn.execute("select actor, action from automatch.audit_log").fetchall()
    assert log == [("cli:test", "adopt")]


async def test_session_that_ends_meanwhile_is_waited_for(database, make) -> None:
    """Postgres lists a session for a moment after its client has closed it."""
    new = make("new")
    looked = "select from pg_stat_activity where pid = %s and query like '%%clear_snapshot%%'"
    async with (
        transaction(database.worker) as ending,
        transaction(database.owner) as conn,
        await psycopg.AsyncConnection.connect(database.owner, autocommit=True) as watcher,
    ):
        adopting = asyncio.create_task(adopt_photo_store(conn, new, "cli:test"))

        async def has_looked() -> bool:
            assert not adopting.done()
            return bool(await (await watcher.execute(looked, [conn.info.backend_pid])).fetchall())

        await until(has_looked)
        await ending.close()
        await adopting

    assert new.mark is not None
    assert await new.read_mark() == new.mark


async def test_store_is_not_changed_under_a_running_worker(
    database, make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(photo_store, "_ENDING_S", 0)
    old, new = make("old"), make("new")
    await serve(database, old)

    async with transaction(database.worker), transaction(database.owner) as conn:
        with pytest.raises(WrongPhotoStoreError, match="stop them all"):
            await adopt_photo_store(conn, new, "cli:test")

    assert await new.read_mark() is None
