"""The success criteria of the deployment guide, one test each, in its words and order."""

from __future__ import annotations

import psycopg
import pytest
from PIL import ImageOps
from structlog.testing import capture_logs

from automatch.settings import Settings
from automatch.vision import Embedder
from tests.support.photos import astronaut, encode
from tests.support.postgres import TestCluster
from tests.support.system import Person, System, running_worker
from tests.support.waiting import logged

pytestmark = pytest.mark.anyio


async def _ask(system: System, statement: str) -> list[tuple[object, ...]]:
    async with await psycopg.AsyncConnection.connect(system.database.owner) as conn:
        return await (await conn.execute(statement)).fetchall()


async def _two_lookalikes(system: System) -> tuple[Person, Person]:
    her, him = await system.join("female"), await system.join("male")
    await her.matched(encode(astronaut()))
    await him.matched(encode(ImageOps.mirror(astronaut())))
    return her, him


async def test_user_uploads_photo_gets_202_response_immediately(server: System) -> None:
    person = await server.join()

    # Without a worker: nothing but the upload itself can be what is waited for.
    answer = await person.upload(encode(astronaut()))

    told = answer.json()
    assert answer.status_code == 202
    assert told["message"] == "Photo uploaded! Matches generating in background..."
    assert set(told) == {"face", "job", "message"}
    assert told["job"]["status"] == "pending"


async def test_job_appears_in_match_jobs_table_with_status_pending(server: System) -> None:
    person = await server.join()
    told = (await person.upload(encode(astronaut()))).json()

    rows = await _ask(
        server, "SELECT id::text, status FROM match_jobs ORDER BY created_at DESC LIMIT 5"
    )

    assert rows == [(told["job"]["id"], "pending")]


async def test_within_60_seconds_status_changes_to_completed(
    server: System, settings: Settings, cluster: TestCluster, embedder: Embedder
) -> None:
    person = await server.join()
    told = (await person.upload(encode(astronaut()))).json()

    async with running_worker(settings, cluster.secrets, embedder):
        await person.ended(told["job"]["id"])

    rows = await _ask(
        server,
        "SELECT status, completed_at - created_at < interval '60 seconds' FROM match_jobs",
    )
    assert rows == [("completed", True)]


async def test_matches_appear_in_matches_table_0_to_20_records(system: System) -> None:
    await _two_lookalikes(system)

    rows = await _ask(
        system,
        "SELECT * FROM matches"
        " WHERE face_a_id IN (SELECT face_id FROM match_jobs ORDER BY created_at DESC LIMIT 1)"
        " OR face_b_id IN (SELECT face_id FROM match_jobs ORDER BY created_at DESC LIMIT 1)",
    )

    assert len(rows) == 1
    assert await _ask(system, "select match_count from match_settings") == [(20,)]


async def test_live_match_feed_updates_automatically_no_refresh(system: System) -> None:
    # In two real browsers too: tests/browser/test_two_people.py.
    her, him = await system.join("female"), await system.join("male")
    await her.matched(encode(astronaut()))

    async with her.stream() as events:
        await him.matched(encode(ImageOps.mirror(astronaut())))
        arrived = [event async for event in _until_match(events)]

    assert arrived[-1].data["profile"]["id"] == him.id


async def _until_match(events):
    async for event in events:
        yield event
        if event.kind == "match":
            return


async def test_matches_are_same_school_and_opposite_gender(system: System) -> None:
    await _two_lookalikes(system)
    for gender, school in [("female", "UIT"), ("male", "UIT"), ("male", "HCMUS")]:
        person = await system.join(gender, school=school)
        await person.matched(encode(astronaut(), quality=90))

    rows = await _ask(
        system,
        "select a.school = b.school, a.gender <> b.gender from matches as m"
        " join faces as fa on fa.id = m.face_a_id join profiles as a on a.id = fa.profile_id"
        " join faces as fb on fb.id = m.face_b_id join profiles as b on b.id = fb.profile_id",
    )

    assert len(rows) == 4
    assert set(rows) == {(True, True)}


async def test_logs_show_successful_processing(system: System) -> None:
    person = await system.join()

    with capture_logs() as logs:
        job = await person.matched(encode(astronaut()))
        [entry] = await logged(logs, "job completed")

    assert entry["job"] == job["id"]
    assert entry["matches"] == 0
