"""`POST /api/faces` with a photo that was sent before, by the same person or by another."""

from __future__ import annotations

import asyncio

import psycopg
import pytest

from tests.support.photos import astronaut, encode, portrait
from tests.support.raw_http import traces
from tests.support.system import System

pytestmark = pytest.mark.anyio

MESSAGE = "Photo uploaded! Matches generating in background..."
REPEATED = "You've added this photo already"


def photo() -> bytes:
    return encode(astronaut())


async def test_same_photo_again_gives_the_same_ids_and_says_so(server: System) -> None:
    person = await server.join()
    first = (await person.upload(photo())).json()
    before = traces(server)

    again = await person.upload(photo(), name="another.png")

    assert (again.status_code, again.json()) == (202, {**first, "message": f"{REPEATED}."})
    assert traces(server) == before


def _fail_job(server: System, job: str, code: str, message: str, faces: str | None = None) -> None:
    with psycopg.connect(server.database.owner) as conn:
        conn.execute(
            "update public.match_jobs set status = 'failed', completed_at = automatch.now(),"
            " error_code = %s, error_message = %s, face_boxes = %s where id = %s",
            [code, message, faces, job],
        )


async def test_refused_photo_again_is_told_why_it_was_refused(
    server: System, subtests: pytest.Subtests
) -> None:
    person = await server.join()
    box = '{"left": 0, "top": 0, "width": 0.4, "height": 0.4}'
    for number, (code, message, faces, told) in enumerate(
        [
            ("no_face", "No face.", None, f"{REPEATED}, and it was refused: No face."),
            ("face_blurred", "Blurred.", None, f"{REPEATED}, and it was refused: Blurred."),
            ("image_timeout", "Too long.", None, f"{REPEATED}, and it was refused: Too long."),
            ("several_faces", "Say which.", f"[{box}, {box}]", f"{REPEATED}. Say which."),
        ]
    ):
        with subtests.test(code):
            data = portrait(number)
            first = (await person.upload(data)).json()
            _fail_job(server, first["job"]["id"], code, message, faces)
            before = traces(server)

            again = (await person.upload(data)).json()

            assert again == {
                "face": first["face"],
                "job": {**first["job"], "status": "failed"},
                "message": told,
            }
            assert traces(server) == before


async def test_photo_that_failed_for_a_passing_reason_starts_a_new_job_when_it_is_sent_again(
    server: System, subtests: pytest.Subtests
) -> None:
    person = await server.join()
    for number, code in enumerate(
        ["decode_timeout", "job_crashed", "worker_lost", "photo_missing", "embedding_invalid"]
    ):
        with subtests.test(code):
            data = portrait(number)
            first = (await person.upload(data)).json()
            _fail_job(server, first["job"]["id"], code, "It passed.")
            face = first["face"]["id"]
            kept = server.settings.home / "photos/uploads" / face[:2] / f"{face}.upload"
            # As after a day, when the uploads of failed jobs are deleted.
            kept.unlink()

            again = (await person.upload(data)).json()

            assert (again["face"], again["message"]) == (first["face"], MESSAGE)
            assert again["job"]["status"] == "pending"
            assert again["job"]["id"] != first["job"]["id"]
            assert kept.read_bytes() == data
            repeated = (await person.upload(data)).json()
            assert repeated == {**again, "message": f"{REPEATED}."}


async def test_photo_whose_job_is_gone_gets_one_and_its_file_again(server: System) -> None:
    person = await server.join()
    first = (await person.upload(photo())).json()
    face = first["face"]["id"]
    kept = server.settings.home / "photos/uploads" / face[:2] / f"{face}.upload"
    kept.unlink()
    with psycopg.connect(server.database.owner) as conn:
        conn.execute("delete from public.match_jobs where face_id = %s", [face])

    again = (await person.upload(photo())).json()

    assert (again["face"], again["job"]["status"]) == (first["face"], "pending")
    assert again["message"] == MESSAGE
    assert kept.read_bytes() == photo()


async def test_same_photo_twenty_times_at_once_is_one_face_one_job_one_file(
    server: System,
) -> None:
    person = await server.join()
    before = traces(server)

    answers = await asyncio.gather(*(person.upload(photo()) for _ in range(20)))

    assert {answer.status_code for answer in answers} == {202}
    told = [answer.json() for answer in answers]
    assert all(one == {**told[0], "message": one["message"]} for one in told)
    assert [one["message"] for one in told].count(MESSAGE) == 1
    after = traces(server)
    assert [new - old for new, old in zip(after.rows, before.rows, strict=True)] == [0, 1, 1, 0]
    assert len(after.photos) == 1


async def test_photo_of_another_person_is_taken_like_any_other(server: System) -> None:
    first, second = await server.join(), await server.join()
    one = (await first.upload(photo())).json()

    two = await second.upload(photo())

    assert two.status_code == 202
    assert two.json()["message"] == MESSAGE
    assert two.json()["face"]["id"] != one["face"]["id"]
    assert two.json()["job"]["status"] == "pending"
