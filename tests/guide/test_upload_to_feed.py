"""The main job: two people upload, both see each other, live."""

from __future__ import annotations

import pytest
from PIL import ImageOps

from tests.support.photos import astronaut, encode
from tests.support.system import System

pytestmark = pytest.mark.anyio


async def test_two_photos_of_one_person_meet_in_both_feeds(system: System) -> None:
    her = await system.join("female", name="Linh")
    him = await system.join("male", name="Minh")

    first = await her.matched(encode(astronaut()))
    second = await him.matched(encode(ImageOps.mirror(astronaut())))

    assert (first["status"], first["match_count"]) == ("completed", 0)
    assert (second["status"], second["match_count"]) == ("completed", 1)
    [seen_by_her], [seen_by_him] = await her.feed(), await him.feed()
    assert seen_by_her["profile"]["name"] == "Minh"
    assert seen_by_him["profile"]["name"] == "Linh"
    assert seen_by_her["id"] == seen_by_him["id"]
    assert seen_by_her["similarity"] >= 0.95


async def test_match_arrives_on_an_open_stream_without_asking_again(system: System) -> None:
    her = await system.join("female")
    him = await system.join("male", name="Minh")
    await her.matched(encode(astronaut()))

    async with her.stream() as events:
        assert (await anext(events)).kind == "ready"
        await him.matched(encode(ImageOps.mirror(astronaut())))
        async for event in events:
            if event.kind == "match":
                break

    assert event.data["profile"] == {"id": him.id, "name": "Minh", "school": "UIT"}


@pytest.mark.parametrize(
    ("gender", "school"), [("female", "UIT"), ("male", "HCMUS")], ids=["gender", "school"]
)
async def test_same_gender_or_another_school_never_matches(
    system: System, gender: str, school: str
) -> None:
    her = await system.join("female", school="UIT")
    other = await system.join(gender, school=school)

    await her.matched(encode(astronaut()))
    job = await other.matched(encode(ImageOps.mirror(astronaut())))

    assert (job["status"], job["match_count"]) == ("completed", 0)
    assert await her.feed() == []
    assert await other.feed() == []
