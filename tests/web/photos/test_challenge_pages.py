"""A first photo that waits for its person to turn their head before the camera, over HTTP."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest

from automatch.settings import Settings
from automatch.vision import Embedder
from automatch.vision.results import Box
from tests.support.photos import astronaut, encode, hopper
from tests.support.postgres import Database, TestCluster
from tests.support.system import PASSWORD, Person, System, running_server, running_worker
from tests.support.turned_head import turned

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(180)]

_FACE = Box(173, 128, 376, 331)


async def _post(system: System, address: str, *pictures: bytes) -> Any:
    return await system.client.post(
        address,
        files=[("file", ("picture.jpg", picture)) for picture in pictures] or None,
        headers={"origin": system.url, "accept": "application/json"},
    )


def _pictures(turns: list[str]) -> list[bytes]:
    sides = [0, *[25 if turn == "left" else -25 for turn in turns]]
    # No two alike, as a camera takes them.
    return [
        encode(turned(hopper(), _FACE, side + 0.5 * number), quality=88)
        for number, side in enumerate(sides)
    ]


async def _begin(system: System, address: str, dsn: str) -> tuple[str, list[str]]:
    told = (await _post(system, f"{address}/begin")).json()
    with psycopg.connect(dsn) as conn:
        conn.execute("update automatch.photo_challenges set begun_at = begun_at - interval '9 s'")
    return f"{address}/{told['id']}", told["turns"]


async def test_first_photo_is_searched_for_once_its_person_turned_as_asked(
    settings: Settings, cluster: TestCluster, database: Database, embedder: Embedder
) -> None:
    upload = settings.upload.model_copy(update={"first_photo_challenge": True})
    settings = settings.model_copy(update={"upload": upload})
    async with (
        running_server(settings, cluster.secrets, database, embedder) as system,
        running_worker(settings, cluster.secrets, embedder),
    ):
        person: Person = await system.join()
        job = await person.matched(encode(hopper(), quality=95))
        assert job["error"]["code"] == "challenge_needed"
        form = {"email": person.email, "password": PASSWORD}
        await system.client.post("/sign-in", data=form, headers={"origin": system.url})
        address = f"/photos/{job['face_id']}/challenge"
        feed, page = [(await system.client.get(each)) for each in ("/photos", address)]
        assert f'href="{address}"' in feed.text
        assert "camera=()" in feed.headers["permissions-policy"]
        assert "camera=(self)" in page.headers["permissions-policy"]

        answer, turns = await _begin(system, address, database.owner)
        still = await _post(system, answer, *[encode(hopper(), quality=88)] * 4)
        again = await _post(system, answer, *_pictures(turns))
        answer, turns = await _begin(system, address, database.owner)
        somebody = await _post(system, answer, encode(astronaut()), *_pictures(turns)[1:])
        answer, turns = await _begin(system, address, database.owner)
        passed = await _post(system, answer, *_pictures(turns))
        assert [each.json()["error"]["code"] for each in (still, again, somebody)] == [
            "challenge_failed"
        ] * 3
        assert passed.json() == {"passed": True}, passed.text
        jobs = (await person.get("/api/jobs")).json()["jobs"]
        ended = await person.ended(jobs[0]["id"])
        kept = sorted(path.name for path in settings.home.rglob("*") if path.suffix == ".upload")

    assert ended["status"] == "completed"
    assert kept == []
