"""Pausing: out of everybody's sight at once, with nothing lost, and back again."""

from __future__ import annotations

import io
import json
import zipfile

import httpx2
import pytest
from PIL import ImageOps

from tests.http.test_errors import check
from tests.support.photos import astronaut, encode
from tests.support.system import Person, System
from tests.web.test_pages import browser, onboard, sign_up, text_of

pytestmark = pytest.mark.anyio


async def put(person: Person, body: object) -> httpx2.Response:
    return await person.client.put("/api/profile/discoverable", headers=person.headers, json=body)


async def matched(system: System) -> tuple[Person, Person]:
    she, he = await system.join(), await system.join("male")
    await she.matched(encode(astronaut()))
    await he.matched(encode(ImageOps.mirror(astronaut())))
    assert len(await she.feed()) == len(await he.feed()) == 1
    return she, he


async def test_whoever_pauses_leaves_the_feeds_of_others_live_and_keeps_their_own(
    system: System,
) -> None:
    she, he = await matched(system)
    async with he.stream() as events:
        assert (await anext(events)).kind == "ready"
        answer = await put(she, {"discoverable": False})
        assert answer.json()["discoverable"] is False
        async for event in events:
            if event.kind == "gone":
                break

    assert event.data["profile"]["id"] == she.id
    assert await he.feed() == []
    assert len(await she.feed()) == 1
    assert len((await she.get("/api/faces")).json()["faces"]) == 1
    newcomer = await system.join("male")
    assert (await newcomer.matched(encode(astronaut())))["match_count"] == 0


async def test_whoever_comes_back_is_in_the_feeds_again_and_finds_who_came_meanwhile(
    system: System,
) -> None:
    she, he = await matched(system)
    await put(she, {"discoverable": False})
    newcomer = await system.join("male")
    await newcomer.matched(encode(astronaut()))
    async with newcomer.stream() as events:
        await put(she, {"discoverable": True})
        async for event in events:
            if event.kind == "match":
                break

    assert event.data["profile"]["id"] == she.id
    assert [match["profile"]["id"] for match in await he.feed()] == [she.id]
    assert {match["profile"]["id"] for match in await she.feed()} == {he.id, newcomer.id}


async def test_same_wish_again_changes_nothing(system: System) -> None:
    she, _ = await matched(system)
    jobs = (await she.get("/api/jobs")).json()["jobs"]
    for _ in range(2):
        assert (await put(she, {"discoverable": True})).status_code == 200

    assert (await she.get("/api/jobs")).json()["jobs"] == jobs
    assert (await she.get("/api/profile")).json()["discoverable"] is True


async def test_strange_wishes_are_refused(server: System, subtests: pytest.Subtests) -> None:
    person = await server.join()
    for body in ({}, {"discoverable": None}, {"discoverable": 0}, {"discoverable": "no"}, [], 1):
        with subtests.test(json.dumps(body)):
            check(await put(person, body), 422, "input_invalid")
    with subtests.test("another field"):
        check(await put(person, {"discoverable": False, "id": person.id}), 422, "input_invalid")
    with subtests.test("the profile's own form"):
        answer = await person.client.put(
            "/api/profile",
            headers=person.headers,
            json={
                "name": "Linh",
                "school": "UIT",
                "gender": "female",
                "birth_date": "2000-02-29",
                "discoverable": False,
            },
        )
        check(answer, 422, "input_invalid")
    assert (await person.get("/api/profile")).json()["discoverable"] is True


async def test_page_has_a_switch_and_says_what_it_does(server: System) -> None:
    async with browser(server) as client:
        await sign_up(client)
        assert (await client.get("/profile/visibility")).url.path == "/onboarding"
        await onboard(client)
        page = await client.get("/profile/visibility")
        assert "People at your school can find you." in text_of(page)
        assert "Your photos and matches are kept" in text_of(page)
        paused = await client.post("/pause")
        assert paused.url.path == "/profile/visibility"
        assert "You're hidden" in text_of(paused)
        assert 'action="/pause"' not in paused.text
        resumed = await client.post("/resume")

        assert "Others can find you again." in text_of(resumed)
        assert 'action="/pause"' in resumed.text


async def test_everything_is_downloaded_as_one_file_by_its_person_alone(server: System) -> None:
    person = await server.join(name="Linh")
    answer = await person.get("/api/profile/export")

    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/zip"
    assert answer.headers["content-disposition"].startswith('attachment; filename="auto-match-')
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        document = json.loads(archive.read("export.json"))
    assert document["profile"][0]["name"] == "Linh"
    await person.client.post("/auth/v1/logout", headers=person.headers)
    check(await person.get("/api/profile/export"), 401, "token_invalid")
