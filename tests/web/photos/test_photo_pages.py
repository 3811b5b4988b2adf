"""A person's own photos over HTTP: what is kept of a refused one, and who may see it."""

from __future__ import annotations

import io

import numpy as np
import psycopg
from httpx2 import Response
from PIL import Image

from tests.support.photos import astronaut, encode
from tests.support.system import Person, System


async def get(person: Person, path: str) -> Response:
    return await person.client.get(path, headers={"cookie": f"automatch_access={person.token}"})


async def test_refused_photo_is_kept_as_a_clean_copy_that_its_owner_alone_sees(
    system: System,
) -> None:
    her, him = await system.join("female"), await system.join("male")
    exif = Image.Exif()
    exif[0x010E] = "taken at home"
    dark = Image.fromarray((np.asarray(astronaut()) * 0.06).astype(np.uint8))
    job = await her.matched(encode(dark, exif=exif))
    assert job["error"]["code"] == "face_too_dark"
    address = f"/photos/{job['face_id']}/refused"

    assert address in (await get(her, "/photos")).text
    picture = await get(her, address)
    with Image.open(io.BytesIO(picture.content)) as shown:
        assert shown.size == (512, 512)
        assert not shown.getexif()
    [kept] = [file for file in system.settings.home.rglob(f"{job['face_id']}*") if file.is_file()]
    assert kept.read_bytes() == picture.content
    assert (await get(him, address)).status_code == 404
    assert (await get(her, f"/photos/{job['face_id']}")).status_code == 404
    with psycopg.connect(system.database.owner) as conn:
        [row] = conn.execute("select refused_picture from public.match_jobs").fetchall()
    assert (row[0]["width"], row[0]["height"]) == (512, 512)
    assert 0.3 < row[0]["face"]["left"] < 0.5

    kept.unlink()

    assert (await get(her, address)).status_code == 404
