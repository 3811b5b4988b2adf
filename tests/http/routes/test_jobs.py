"""A photo with several faces, from the upload over the question to the match, as apps see it."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any
from uuid import uuid4

import httpx2
import psycopg
import pytest
from PIL import ImageOps

from automatch.model.faces import FaceBox
from automatch.photos.make import make_photos
from automatch.settings import Settings
from automatch.settings.server import UploadSettings
from automatch.settings.storage import RetentionSettings
from automatch.settings.worker import WorkerSettings
from automatch.store.database import Database as Pool
from automatch.vision import Embedder
from automatch.worker.maintenance import MaintenanceRunner
from tests.http.test_errors import check
from tests.support.photos import astronaut, encode, shared_photo, two_people
from tests.support.postgres import Database, TestCluster
from tests.support.system import Person, System, running_server, running_worker
from tests.support.waiting import until
from tests.web.test_pages import browser, onboard, sign_up, upload

pytestmark = pytest.mark.anyio


async def choose(person: Person, job_id: str, index: object = 0) -> httpx2.Response:
    return await person.client.post(
        f"/api/jobs/{job_id}/face", headers=person.headers, json={"index": index}
    )


async def asked(system: System) -> tuple[Person, dict[str, Any]]:
    """Return a woman and the job of a photo of her, on the left, and another woman."""
    her = await system.join()
    job = await her.matched(encode(two_people()))
    assert job["error"]["code"] == "several_faces"
    return her, job


def leftmost(job: dict[str, Any]) -> int:
    return min(job["faces"], key=lambda face: face["box"]["left"])["index"]


def files_of(system: System, face_id: str) -> set[str]:
    files = (system.settings.home / "photos").rglob(f"{face_id}*")
    return {path.name.removeprefix(face_id) for path in files}


async def test_chosen_face_is_matched_and_the_other_one_is_not(system: System) -> None:
    him = await system.join("male", name="Minh")
    await him.matched(encode(ImageOps.mirror(astronaut())))
    her, job = await asked(system)
    assert [face["index"] for face in job["faces"]] == [0, 1]
    assert all(0 <= share <= 1 for face in job["faces"] for share in face["box"].values())
    left = leftmost(job)
    answer = await choose(her, job["id"], left)
    assert answer.status_code == 202
    assert answer.json() == {"job": {"id": job["id"], "status": "pending"}}
    ended = await her.ended(job["id"])

    assert (ended["status"], ended["match_count"], ended["faces"]) == ("completed", 1, [])
    assert [match["profile"]["name"] for match in await her.feed()] == ["Minh"]
    other, question = await asked(system)
    await choose(other, question["id"], 1 - leftmost(question))
    assert (await other.ended(question["id"]))["match_count"] == 0


async def test_real_photo_of_two_people_goes_on_with_either(system: System) -> None:
    photo = shared_photo("two_people_1.jpg")
    embedded = []
    for index in (0, 1):
        person = await system.join()
        job = await person.matched(photo)
        await choose(person, job["id"], index)
        assert (await person.ended(job["id"]))["status"] == "completed"
        async with await psycopg.AsyncConnection.connect(system.database.owner) as conn:
            cursor = await conn.execute(
                "select e.embedding::text, f.chosen_box from public.faces as f"
                " join public.face_embeddings as e on e.face_id = f.id where f.id = %s",
                [job["face_id"]],
            )
            embedding, chosen = await cursor.fetchone()
        embedded.append(embedding)
        assert chosen == job["faces"][index]["box"] | {"index": index}

    assert embedded[0] != embedded[1]


async def test_photo_that_asks_is_kept_clean_and_shown_to_its_owner_alone(system: System) -> None:
    her, job = await asked(system)
    stranger = await system.join()
    path = f"/api/faces/{job['face_id']}/image"
    shown = await her.get(path)

    assert shown.status_code == 200
    assert shown.headers["content-type"] == "image/jpeg"
    check(await stranger.get(path), 404, "not_found")
    # The upload, with all that it tells beside the picture, is gone already.
    assert files_of(system, job["face_id"]) == {".jpg", ".thumb.jpg"}


async def test_boxes_fit_the_photo_that_is_shown(system: System) -> None:
    _, job = await asked(system)
    left, right = sorted(
        (FaceBox(**face["box"]) for face in job["faces"]), key=lambda box: box.left
    )

    # The astronaut's face is where every test of the detector finds it, in a page 812 wide.
    assert 160 / 812 < left.left < left.left + left.width < 290 / 812
    assert 50 / 512 < left.top < left.top + left.height < 190 / 512
    assert 0.6 < right.left < right.left + right.width < 1


async def test_chosen_face_that_cannot_be_used_says_so(system: System) -> None:
    page = two_people()
    page.paste(page.crop((512, 0, 812, 352)).point(lambda value: value // 14), (512, 0))
    her = await system.join()
    job = await her.matched(encode(page, quality=95))
    assert job["error"]["code"] == "several_faces"
    # The face in the dark is the one on the right.
    lefts = [face["box"]["left"] for face in job["faces"]]
    dark, light = lefts.index(max(lefts)), lefts.index(min(lefts))
    await choose(her, job["id"], dark)
    ended = await her.ended(job["id"])

    assert ended["error"]["code"] == "face_too_dark"
    assert ended["faces"] == []
    # It stays chosen: the same answer is no new question.
    assert (await choose(her, job["id"], dark)).json()["job"]["status"] == "failed"
    check(await choose(her, job["id"], light), 409, "face_not_asked")


async def test_deleted_photo_takes_its_copies_along(system: System) -> None:
    her, job = await asked(system)
    answer = await her.client.delete(f"/api/faces/{job['face_id']}", headers=her.headers)
    assert answer.status_code == 204
    check(await choose(her, job["id"]), 404, "not_found")
    async with maintenance_of(system) as maintenance:
        await maintenance.photos.erase_photos()

    # The worker of the system may have been at it already.
    await until(lambda: files_of(system, job["face_id"]) == set())


@asynccontextmanager
async def maintenance_of(system: System) -> AsyncIterator[MaintenanceRunner]:
    """Give a scheduler whose maintenance come round when they are called."""
    retention = RetentionSettings(min_free_mb=0)
    async with Pool(system.database.worker, system.settings.pool, name="test") as db:
        yield MaintenanceRunner(db, make_photos(system.settings), WorkerSettings(), retention)


async def test_photo_that_nobody_answers_for_is_erased_and_may_be_sent_again(
    system: System,
) -> None:
    her, job = await asked(system)
    async with await psycopg.AsyncConnection.connect(system.database.owner) as conn:
        await conn.execute(
            "update public.match_jobs set completed_at = now() - interval '25 hours'"
        )
    async with maintenance_of(system) as maintenance:
        await maintenance.photos.erase_unanswered_photos()
        await maintenance.photos.erase_photos()

    # The worker of the system may have been at it already.
    await until(lambda: files_of(system, job["face_id"]) == set())
    assert (await her.get("/api/faces")).json() == {"faces": []}
    again = await her.matched(encode(two_people()))
    assert again["id"] != job["id"]
    assert len(again["faces"]) == 2


async def test_photo_that_was_answered_for_is_kept(system: System) -> None:
    her, job = await asked(system)
    await choose(her, job["id"], leftmost(job))
    await her.ended(job["id"])
    async with maintenance_of(system) as maintenance:
        await maintenance.photos.erase_unanswered_photos()
        await maintenance.photos.clean_up_photos()

    assert files_of(system, job["face_id"]) == {".jpg", ".thumb.jpg"}


async def test_strange_answers_are_refused(system: System, subtests: pytest.Subtests) -> None:
    her, job = await asked(system)
    for index in (2, 63):
        with subtests.test(index=index):
            answer = await choose(her, job["id"], index)
            check(answer, 422, "input_invalid")
            assert "from 0 to 1" in answer.json()["error"]["message"]
    for index in (-1, 64, "0", 0.5, True, None, 2**70, [0]):
        with subtests.test(index=index):
            check(await choose(her, job["id"], index), 422, "input_invalid")
    for body in ({}, {"index": 0, "box": {}}, {"face": 0}):
        with subtests.test(body=body):
            answer = await her.client.post(
                f"/api/jobs/{job['id']}/face", headers=her.headers, json=body
            )
            check(answer, 422, "input_invalid")
    with subtests.test("somebody else's job"):
        stranger = await system.join()
        check(await choose(stranger, job["id"]), 404, "not_found")
        check(await choose(her, str(uuid4())), 404, "not_found")
    with subtests.test("a job that asks nothing"):
        good = await her.matched(encode(astronaut()))
        check(await choose(her, good["id"]), 409, "face_not_asked")
        assert good["faces"] == []


async def test_full_queue_takes_no_answer_either(
    settings: Settings, cluster: TestCluster, database: Database, embedder: Embedder
) -> None:
    full = settings.model_copy(update={"upload": UploadSettings(max_waiting=1)})
    async with running_server(settings, cluster.secrets, database) as system:
        async with running_worker(settings, cluster.secrets, embedder):
            her, job = await asked(system)
        waiting = await (await system.join()).upload(encode(astronaut()))
        assert waiting.status_code == 202
        # A server of its own: one that has accepted photos counts those for a second.
        async with running_server(full, cluster.secrets, database) as other:
            answer = await choose(replace(her, client=other.client), job["id"])

        check(answer, 503, "queue_full")
        assert answer.headers["retry-after"] == "30"
        assert len((await her.get(f"/api/jobs/{job['id']}")).json()["job"]["faces"]) == 2


async def test_route_is_described(server: System) -> None:
    reply = (await server.client.get("/api/openapi.json")).json()
    route = reply["paths"]["/api/jobs/{job_id}/face"]["post"]

    assert route["summary"] == "Say which face is one's own"
    assert "queued again" in route["description"]
    assert set(route["responses"]) >= {"202", "404", "409", "422"}
    form = reply["components"]["schemas"]["FaceForm"]
    assert "faces" in form["properties"]["index"]["description"]


async def test_page_asks_with_a_form_that_works_without_scripts(system: System) -> None:
    async with browser(system) as client:
        await sign_up(client)
        await onboard(client)
        sent = await upload(client, encode(two_people()))
        [job_id] = re.findall(r'data-job="([^"]+)"', sent.text)
        her = Person("", "", client.cookies["automatch_access"], system.client)
        await her.ended(job_id)
        page = await client.get("/photos")
        assert "Which one is you?" in page.text
        buttons = re.findall(
            r'<button name="index" value="(\d)" aria-label="Face (\d) of 2, on the (\w+)"',
            page.text,
        )
        assert [(number, place) for _, number, place in buttons] == [("1", "left"), ("2", "right")]
        # Places are attributes: the policy of the page allows no styles in it.
        assert "style=" not in page.text
        [address] = set(re.findall(r'src="(/photos/[^"]+full)"', page.text))
        assert (await client.get(address)).headers["content-type"] == "image/jpeg"
        [action] = re.findall(r'action="(/jobs/[^"]+/face)"', page.text)
        for index in ("", "x", "9", "-1", "9" * 5000):
            assert (await client.post(action, data={"index": index})).status_code == 422
        gone_on = await client.post(action, data={"index": buttons[0][0]})
        assert gone_on.url.path == "/photos"
        assert "looking for your look-alikes now." in gone_on.text
        await her.ended(job_id)

        assert "Which one is you?" not in (await client.get("/feed")).text
        assert "No look-alikes yet" in (await client.get("/feed")).text
        other = await client.post(action, data={"index": "1" if buttons[0][0] == "0" else "0"})
        assert other.status_code == 409


async def test_answer_of_a_script_is_told_as_json(system: System) -> None:
    her, job = await asked(system)
    cookie = {"cookie": f"automatch_access={her.token}", "accept": "application/json"}
    answers = [
        await system.client.post(f"/jobs/{job['id']}/face", data={"index": index}, headers=cookie)
        for index in ("7", "0")
    ]

    check(answers[0], 422, "input_invalid")
    assert answers[1].status_code == 202
    assert answers[1].json()["job"]["id"] == job["id"]
