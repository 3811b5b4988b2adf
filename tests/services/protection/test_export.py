"""The download of everything about a person is opened and read."""

from __future__ import annotations

import io
import json
import zipfile
from uuid import uuid4

import pytest

from automatch.errors.job import ProfileNotFoundError
from automatch.photos.folder import FolderPhotos
from automatch.photos.store import photo_path
from automatch.services.protection.export import open_export
from automatch.settings.database import PoolSettings
from tests.support import build
from tests.support.build import connect
from tests.support.kept_pools import KeptDatabase

pytestmark = pytest.mark.anyio


async def test_zip_has_the_photos_and_all_that_is_known(database, tmp_path) -> None:
    photos = FolderPhotos(tmp_path / "photos", min_free_mb=0)
    with connect(database.owner, autocommit=True) as conn:
        (she, her_face), (_, his_face) = build.a_pair(conn)
        build.a_match(conn, her_face)
        waiting = build.a_face(conn, she)
        lost = build.a_face(conn, she)
    for face in (her_face, his_face):
        await photos.put_copies(photo_path(face), full=b"full" * 100_000, thumb=b"RIFF thumb")
    await photos.put_upload(photo_path(waiting), b"as it was sent")
    async with KeptDatabase(database.api, PoolSettings(), name="test") as db:
        parts = [part async for part in await open_export(db, photos, she)]

    assert max(map(len, parts)) < 500_000
    with zipfile.ZipFile(io.BytesIO(b"".join(parts))) as archive:
        assert archive.testzip() is None
        document = json.loads(archive.read("export.json"))
        assert set(archive.namelist()) == {
            "export.json",
            f"photos/{her_face}.jpg",
            f"faces/{her_face}.webp",
            f"photos/{waiting}",
        }
        assert archive.read(f"photos/{her_face}.jpg") == b"full" * 100_000
        assert archive.read(f"faces/{her_face}.webp") == b"RIFF thumb"
        assert archive.read(f"photos/{waiting}") == b"as it was sent"
    assert document["profile"][0]["id"] == str(she)
    assert {photo["id"] for photo in document["photos"]} == {
        str(face) for face in (her_face, waiting, lost)
    }
    [match] = document["matches"]
    assert match["person"].startswith("person-")
    assert str(his_face) not in json.dumps(document)


async def test_nobody_has_no_export(database, tmp_path) -> None:
    photos = FolderPhotos(tmp_path / "photos", min_free_mb=0)
    async with KeptDatabase(database.api, PoolSettings(), name="test") as db:
        with pytest.raises(ProfileNotFoundError):
            await open_export(db, photos, uuid4())
