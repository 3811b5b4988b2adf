"""The search for an erased person finds them everywhere before, and nowhere after."""

from __future__ import annotations

from uuid import uuid4

import pytest

from automatch.ops.erasure_scan import hash_id, scan, scan_bytes
from automatch.photos.folder import FolderPhotos
from automatch.photos.store import photo_path
from tests.support import build
from tests.support.build import connect

pytestmark = pytest.mark.anyio


async def test_person_is_found_in_database_photos_and_files_until_they_are_erased(
    database, settings
) -> None:
    photos = FolderPhotos(settings.home / "photos", min_free_mb=0)
    with connect(database.owner, autocommit=True) as conn:
        person = build.a_profile(conn)
        face = build.a_face(conn, person, build.unit(1))
    await photos.put_copies(photo_path(face), full=b"full", thumb=b"thumb")
    stray = settings.home / "logs" / "server.log"
    stray.parent.mkdir()
    stray.write_text(f"somebody logged {person} here\n")

    async def found() -> dict[str, int | None]:
        places = await scan(
            database.owner,
            photos,
            settings,
            person=None,
            person_sha256=hash_id(str(person)),
            photos_sha256=[hash_id(str(face))],
        )
        return {place.name: place.count for place in places if place.count != 0}

    before = await found()
    assert before["table public.faces"] == 1
    assert before[photos.location] == 1
    assert before[f"files of {settings.home}, logs among them"] == 1
    with connect(database.owner, autocommit=True) as conn:
        conn.execute("select public.erase_person(%s, 'operator')", [person])
        conn.execute("delete from automatch.photo_erasures")
    await photos.erase([photo_path(face)])
    stray.unlink()

    assert await found() == {}


def test_id_is_found_in_the_bytes_of_files_wherever_it_lies(tmp_path) -> None:
    person = uuid4()
    contents = {
        "base/1": bytes(4 * 1024**2 - 8) + person.bytes,
        "pg_wal/1": b"as text " + str(person).encode(),
        "base/2": uuid4().bytes,
    }
    for name, content in contents.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(content)

    assert scan_bytes(tmp_path, person).count == 2
    assert scan_bytes(tmp_path, uuid4()).count == 0
