"""Two people over HTTP: cards that go and come back while both watch, and why there are none."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from typing import Any
from uuid import uuid4

import pytest
from PIL import ImageOps

from tests.support.photos import astronaut, encode
from tests.support.system import Event, Person, System
from tests.support.waiting import PATIENCE_S
from tests.web.test_pages import browser, onboard, sign_up, text_of, upload

pytestmark = pytest.mark.anyio


async def next_of(events: AsyncIterator[Event], *kinds: str) -> tuple[str, str]:
    """Return kind and person of the next event of these kinds."""
    async with asyncio.timeout(PATIENCE_S):
        async for event in events:
            if event.kind in kinds:
                return event.kind, event.data["profile"]["id"]
    raise AssertionError("the stream ended")


async def matched_pair(system: System) -> tuple[Person, Person]:
    her, him = await system.join("female", name="Linh"), await system.join("male", name="Minh")
    await her.matched(encode(astronaut()))
    assert (await him.matched(encode(ImageOps.mirror(astronaut()))))["match_count"] == 1
    return her, him


async def move(system: System, person: Person, school: str, gender: str = "male") -> None:
    await system.open_school(school)
    answer = await system.client.put(
        "/api/profile",
        headers=person.headers,
        json={"name": "Minh", "school": school, "gender": gender, "birth_date": "2000-02-29"},
    )
    assert answer.status_code == 200, answer.text


async def send(person: Person, method: str, path: str) -> int:
    answer = await person.client.request(method, path, headers=person.headers)
    return answer.status_code


async def test_card_leaves_both_open_feeds_when_a_person_moves_and_returns_with_them(
    system: System,
) -> None:
    her, him = await matched_pair(system)
    async with her.stream() as hers, him.stream() as his:
        await anext(hers)
        await anext(his)
        await move(system, him, "HCMUS")
        assert await next_of(hers, "gone", "match") == ("gone", him.id)
        assert await next_of(his, "gone", "match") == ("gone", her.id)

        await move(system, him, "UIT")
        assert await next_of(hers, "gone", "match") == ("match", him.id)
        assert await next_of(his, "gone", "match") == ("match", her.id)


async def test_who_moves_is_searched_for_in_the_new_school_by_a_worker(system: System) -> None:
    her, him = await matched_pair(system)
    there = await system.join("female", school="HCMUS", name="Hoa")
    await there.matched(encode(astronaut()))
    async with there.stream() as theirs:
        await anext(theirs)
        await move(system, him, "HCMUS")
        assert await next_of(theirs, "match") == ("match", him.id)

    assert [entry["profile"]["id"] for entry in await him.feed()] == [there.id]
    assert await her.feed() == []


@pytest.mark.parametrize("how", ["block", "dismissal"])
async def test_taking_a_no_back_brings_the_card_back_to_both(system: System, how: str) -> None:
    her, him = await matched_pair(system)
    [match] = await her.feed()
    path = f"/api/profiles/{him.id}/{how}"
    hiding = path if how == "block" else f"/api/matches/{match['id']}/dismiss"
    assert await send(her, "POST", hiding) == 204
    listed = (await her.get("/api/profiles/hidden")).json()["people"]
    assert [(one["profile"], one["blocked"], one["dismissed"]) for one in listed] == [
        ({"id": him.id, "name": "Minh"}, how == "block", how == "dismissal")
    ]
    assert (await him.get("/api/profiles/hidden")).json() == {"people": []}
    # It is hers to take back.
    assert await send(him, "DELETE", f"/api/profiles/{her.id}/{how}") == 404
    assert (await her.feed(), await him.feed()) == ([], [])

    async with her.stream() as hers, him.stream() as his:
        await anext(hers)
        await anext(his)
        assert await send(her, "DELETE", path) == 204
        assert await next_of(hers, "match") == ("match", him.id)
        assert await next_of(his, "match") == ("match", her.id)
    assert await send(her, "DELETE", path) == 404
    assert await send(her, "DELETE", f"/api/profiles/{uuid4()}/{how}") == 404


async def why_of(person: Person, job: dict[str, Any]) -> Any:
    return (await person.get(f"/api/jobs/{job['id']}")).json()["job"]["why"]


async def test_job_without_matches_says_why_in_the_api_and_on_the_page(system: System) -> None:
    person = await system.join("female")
    job = await person.matched(encode(astronaut()))
    why = await why_of(person, job)

    assert why.pop("sentence").startswith("So far, fewer than 10 people at your school")
    assert why == {
        "school": 0,
        "other_gender": 0,
        "findable": 0,
        "hidden": 0,
        "threshold": 0.5,
        "over_threshold": 0,
    }

    async with browser(system) as client:
        await sign_up(client)
        await onboard(client)
        sent = await upload(client, encode(astronaut()))
        [own] = re.findall(r'data-job="([^"]+)"', sent.text)
        token = client.cookies["automatch_access"]
        await Person("", "", token, system.client).ended(own)
        page = await client.get("/photos")
        async with client.stream("GET", "/feed/stream") as stream:
            async for line in stream.aiter_lines():
                if "Why none?" in line:
                    break

    assert "So far, fewer than 10 people at your school could match with you." in text_of(page)
    assert "Why none?" in text_of(page)
    assert "Who could match with you fewer than 10" in " ".join(text_of(page).split())


async def test_job_of_another_and_one_that_failed_say_nothing(system: System) -> None:
    person = await system.join("female")
    other = await system.join("male")
    job = await person.matched(encode(astronaut()))

    assert (await other.get(f"/api/jobs/{job['id']}")).status_code == 404
    failed = await other.matched(encode(astronaut().crop((0, 0, 200, 200))))
    assert failed["status"] == "failed"
    assert await why_of(other, failed) is None


async def test_hidden_people_can_be_shown_again_on_the_profile_page(system: System) -> None:
    him = await system.join("male", name="Minh")
    await him.matched(encode(ImageOps.mirror(astronaut())))
    async with browser(system) as client:
        await sign_up(client)
        await onboard(client)
        sent = await upload(client, encode(astronaut()))
        [job] = re.findall(r'data-job="([^"]+)"', sent.text)
        her = Person("", "", client.cookies["automatch_access"], system.client)
        await her.ended(job)
        assert "You haven't hidden anyone." in text_of(await client.get("/profile/hidden"))
        await client.post(f"/people/{him.id}/block")
        page = await client.get("/profile/hidden")
        assert "Minh, blocked on" in " ".join(text_of(page).split())
        [again] = re.findall(r'action="(/people/[^"]+/show-again)"', page.text)

        shown = await client.post(again)
        assert "You can see each other again." in text_of(shown)
        assert "Photo of Minh" in (await client.get("/feed")).text
        assert (await client.post(again)).status_code == 404
