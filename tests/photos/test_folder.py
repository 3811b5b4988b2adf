"""What every store of photos keeps to, be it a folder or a bucket."""

from __future__ import annotations

import asyncio
import errno
import os
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

import pytest

from automatch.errors.job import PhotoMissingError
from automatch.errors.store import PhotoStorageError
from automatch.photos import bucket, folder
from automatch.photos.bucket import BucketPhotos
from automatch.photos.folder import FolderPhotos
from automatch.photos.store import MARK, PhotoStore, photo_path

pytestmark = pytest.mark.anyio


class Kept:
    """A store, and a way to make all that it keeps look old."""

    def __init__(self, photos: PhotoStore, age: Callable[[], None]) -> None:
        self.photos = photos
        self.age = age


@pytest.fixture(params=["folder", "bucket"])
def kept(request, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Kept:
    """Give each of the stores, empty."""
    if request.param == "folder":

        def age_files() -> None:
            for file in tmp_path.rglob("*.*"):
                os.utime(file, (time.time() - 7200,) * 2)

        return Kept(FolderPhotos(tmp_path, min_free_mb=0), age_files)

    class Later(datetime):
        """Now, two hours from now."""

        @classmethod
        def now(cls, tz: object = None) -> datetime:
            return datetime.now(UTC) + timedelta(hours=2)

    return Kept(
        BucketPhotos(request.getfixturevalue("bucket")),
        lambda: monkeypatch.setattr(bucket, "datetime", Later),
    )


@pytest.fixture
def photos(kept: Kept) -> PhotoStore:
    return kept.photos


@pytest.fixture
def path() -> str:
    return photo_path(uuid4())


async def test_upload_is_read_until_there_is_only_the_clean_copy(photos, path) -> None:
    await photos.put_upload(path, b"upload")
    assert await photos.read(path) == b"upload"
    await photos.put_copies(path, full=b"full", thumb=b"thumb")
    assert await photos.read(path) == b"upload"

    await photos.drop_upload(path)
    await photos.drop_upload(path)

    assert await photos.read(path) == b"full"
    assert await photos.read_copy(path, "full") == b"full"
    assert await photos.read_copy(path, "thumb") == b"thumb"


async def test_what_is_not_there_is_told(photos, path) -> None:
    with pytest.raises(PhotoMissingError):
        await photos.read(path)
    await photos.put_upload(path, b"upload")

    assert await photos.read_copy(path, "full") is None


async def test_photo_written_again_is_the_new_one(photos, path) -> None:
    for content in (b"first", b"second"):
        await photos.put_upload(path, content)
        await photos.put_copies(path, full=content, thumb=content)

    assert await photos.read(path) == b"second"
    assert await photos.read_copy(path, "thumb") == b"second"


async def test_large_photo_comes_back_as_it_was(photos, path) -> None:
    photo = os.urandom(12 * 1024**2)
    await photos.put_upload(path, photo)

    assert await photos.read(path) == photo


async def test_erased_photos_leave_nothing_and_others_stay(photos, path) -> None:
    gone = [photo_path(uuid4()) for _ in range(20)]
    for one in (*gone, path):
        await photos.put_upload(one, b"upload")
        await photos.put_copies(one, full=b"full", thumb=b"thumb")

    await photos.erase([*gone, photo_path(uuid4())])
    await photos.erase(gone)

    assert [photo.path for photo in await photos.list_page("copies", "")] == [path]
    assert [photo.path for photo in await photos.list_page("uploads", "")] == [path]
    assert await photos.read(path) == b"upload"
    for one in gone:
        assert await photos.read_copy(one, "thumb") is None


async def test_photos_are_listed_by_parts_with_their_age(kept, path) -> None:
    photos = kept.photos
    only_upload, only_copies = path, photo_path(uuid4())
    await photos.put_upload(only_upload, b"upload")
    await photos.put_copies(only_copies, full=b"full", thumb=b"thumb")
    [upload], [copies] = [await photos.list_page(part, "") for part in ("uploads", "copies")]
    assert (upload.path, copies.path) == (only_upload, only_copies)
    assert max(upload.age_s, copies.age_s) < 3600

    kept.age()

    [upload], [copies] = [await photos.list_page(part, "") for part in ("uploads", "copies")]
    assert min(upload.age_s, copies.age_s) > 3600


@pytest.mark.parametrize("part", ["uploads", "copies"])
async def test_pages_list_each_photo_once_and_in_order(kept, part, monkeypatch) -> None:
    photos = kept.photos
    for module in (folder, bucket):
        monkeypatch.setattr(module, "PAGE", 4)
    # Several in one folder, and a photo whose files are on both sides of the end of a page.
    paths = sorted([f"0{n % 3}/{uuid4()}" for n in range(13)] + ["ff/" + "f" * 8])
    for path in paths:
        await photos.put_upload(path, b"upload")
        await photos.put_copies(path, full=b"full", thumb=b"thumb")
    listed, after = [], ""

    while page := await photos.list_page(part, after):
        assert len(page) <= 4
        after = page[-1].path
        listed += [photo.path for photo in page]

    assert listed == paths


async def test_many_at_once_do_not_mix(photos) -> None:
    paths = {photo_path(uuid4()): os.urandom(1000) for _ in range(40)}

    await asyncio.gather(*(photos.put_upload(path, data) for path, data in paths.items()))

    read = await asyncio.gather(*(photos.read(path) for path in paths))
    assert read == list(paths.values())


async def test_store_with_another_mark_tells_nothing_of_its_photos(photos, path) -> None:
    await photos.put_upload(path, b"upload")
    await photos.set_mark(uuid4())
    photos.mark = uuid4()

    for ask in (
        lambda: photos.read(photo_path(uuid4())),
        lambda: photos.list_page("uploads", ""),
        photos.check,
    ):
        with pytest.raises(PhotoStorageError) as refused:
            await ask()
        assert photos.location in str(refused.value.reason)
        assert photos.location not in refused.value.message, "it is told to people"
    assert photos.location in (await photos.erase([path]))[path]

    photos.mark = await photos.read_mark()
    assert [photo.path for photo in await photos.list_page("uploads", "")] == [path]
    assert await photos.list_page("copies", "") == [], "the mark is no photo"
    assert await photos.erase([path]) == {}


async def test_damaged_mark_is_none(photos) -> None:
    await photos.set_mark("not an id")

    assert await photos.read_mark() is None


async def test_folder_that_is_not_mounted_is_no_empty_store(tmp_path: Path) -> None:
    place, path = tmp_path / "photos", photo_path(uuid4())
    photos = FolderPhotos(place, min_free_mb=0)
    await photos.set_mark(mark := uuid4())
    photos.mark = mark
    await photos.put_copies(path, full=b"full", thumb=b"thumb")
    place.rename(tmp_path / "unmounted")
    place.mkdir()

    for ask in (
        lambda: photos.read(path),
        lambda: photos.read_copy(path, "thumb"),
        lambda: photos.put_upload(path, b"upload"),
        photos.check,
    ):
        with pytest.raises(PhotoStorageError):
            await ask()
    assert list(await photos.erase([path])) == [path]
    assert list(place.iterdir()) == []

    place.rmdir()
    (tmp_path / "unmounted").rename(place)
    await photos.check()
    assert await photos.read(path) == b"full"


async def test_folder_that_is_unmounted_while_photos_are_erased_erased_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    photos, paths = FolderPhotos(tmp_path, min_free_mb=0), [photo_path(uuid4()) for _ in range(2)]
    await photos.set_mark(mark := uuid4())
    photos.mark = mark
    delete = Path.unlink

    def unmount(file: Path, **more: bool) -> None:
        delete(tmp_path / MARK, missing_ok=True)
        delete(file, **more)

    monkeypatch.setattr(Path, "unlink", unmount)

    assert list(await photos.erase(paths)) == paths


async def test_folder_that_cannot_be_written_to_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    photos, path = FolderPhotos(tmp_path, min_free_mb=0), photo_path(uuid4())
    # Root may write to any folder, unless its file system is read-only.
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(PhotoStorageError):
        await photos.check()
    (tmp_path / "uploads").touch()

    with pytest.raises(PhotoStorageError) as refused:
        await photos.put_upload(path, b"upload")

    assert os.strerror(errno.EEXIST) in str(refused.value.reason)


async def test_file_that_cannot_be_read_is_not_the_fault_of_the_folder(tmp_path: Path) -> None:
    photos, path = FolderPhotos(tmp_path, min_free_mb=0), photo_path(uuid4())
    (tmp_path / f"uploads/{path}.upload").mkdir(parents=True)

    with pytest.raises(IsADirectoryError):
        await photos.read(path)


async def test_link_is_deleted_and_what_it_links_to_stays(tmp_path: Path) -> None:
    photos, path = FolderPhotos(tmp_path / "photos", min_free_mb=0), photo_path(uuid4())
    await photos.put_copies(path, full=b"full", thumb=b"thumb")
    other = tmp_path / "other.jpg"
    other.write_bytes(b"somebody else's")
    link = tmp_path / "photos" / f"{path}.jpg"
    link.unlink()
    link.symlink_to(other)

    assert await photos.erase([path]) == {}

    assert not link.is_symlink()
    assert other.exists()


@pytest.mark.parametrize(
    "spoil",
    [
        pytest.param(lambda file: file.mkdir(), id="folder in its place"),
        pytest.param(lambda file: file.parent.rmdir() or file.parent.touch(), id="no folder"),
        pytest.param(
            lambda file: file.parent.rmdir() or file.parent.symlink_to("/tmp"), id="linked folder"
        ),
    ],
)
async def test_photo_that_cannot_be_deleted_is_named_and_the_others_are_deleted(
    tmp_path: Path, spoil: Callable[[Path], None]
) -> None:
    photos = FolderPhotos(tmp_path, min_free_mb=0)
    stuck, gone = f"aa/{uuid4()}", f"bb/{uuid4()}"
    (tmp_path / "aa").mkdir()
    spoil(tmp_path / f"{stuck}.jpg")
    await photos.put_copies(gone, full=b"full", thumb=b"thumb")

    assert list(await photos.erase([stuck, gone])) == [stuck]

    assert list((tmp_path / "bb").iterdir()) == []


async def test_name_that_no_file_can_have_counts_as_deleted(tmp_path: Path) -> None:
    photos = FolderPhotos(tmp_path, min_free_mb=0)
    (tmp_path / "aa").mkdir()

    assert await photos.erase(["aa/" + "n" * 300]) == {}


async def test_file_of_an_interrupted_write_is_deleted_once_it_is_old(tmp_path: Path) -> None:
    photos = FolderPhotos(tmp_path, min_free_mb=0)
    (tmp_path / "uploads/aa").mkdir(parents=True)
    old, new = [tmp_path / "uploads/aa" / f".{uuid4()}.upload.0{n}" for n in range(2)]
    for file in (old, new):
        file.touch()
    os.utime(old, (0, 0))

    assert await photos.list_page("uploads", "") == []

    assert [*(tmp_path / "uploads/aa").iterdir()] == [new]


async def test_mark_that_is_a_pipe_is_refused_without_waiting(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / MARK)

    with pytest.raises(PhotoStorageError):
        await FolderPhotos(tmp_path, min_free_mb=0).read_mark()
