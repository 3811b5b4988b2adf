"""The demo: a real photo finds some of the simulated people, and they leave without a trace."""

from __future__ import annotations

import psycopg
import pytest

from automatch.demo.people import simulated_people
from automatch.photos.make import make_photos
from automatch.services.people.demo import empty_school, fill_school
from automatch.settings import Settings
from automatch.settings.database import PoolSettings
from automatch.store.database import Database
from tests.support.photos import astronaut, encode, hopper
from tests.support.system import System

pytestmark = pytest.mark.anyio


async def _fill(
    settings: Settings,
    dsn: str,
    count: int,
    school: str = "UIT",
    *,
    after: int = 0,
    search: bool = False,
) -> None:
    people = simulated_people(school, count, seed=1)[after:]
    async with Database(dsn, PoolSettings(), name="test") as db:
        async for _ in fill_school(db, make_photos(settings), people, search=search):
            pass


async def test_first_real_photo_finds_simulated_people(system: System, settings: Settings) -> None:
    await _fill(settings, system.database.worker, 80)
    for photo in (astronaut, hopper):
        person = await system.join("female")

        job = await person.matched(encode(photo()))

        feed = await person.feed()
        assert job["match_count"] == len(feed) >= 3
        assert all(match["simulated"] for match in feed)
    image = await person.client.get(feed[0]["face"]["image_url"])
    assert image.headers["content-type"] == "image/jpeg"


async def test_who_joins_later_appears_in_the_feed(system: System, settings: Settings) -> None:
    await _fill(settings, system.database.worker, 40)
    person = await system.join("female")
    await person.matched(encode(astronaut()))
    before = await person.feed()

    async with person.stream() as events:
        await _fill(settings, system.database.worker, 50, after=40, search=True)
        known = {match["profile"]["id"] for match in before}
        async for event in events:
            if event.kind == "match" and event.data["profile"]["id"] not in known:
                break

    assert len(await person.feed()) > len(before)


@pytest.mark.parametrize("name", ["A closed school", "One that is not there"])
async def test_simulated_people_belong_to_whatever_school_they_fill(
    server: System, settings: Settings, name: str
) -> None:
    async with await psycopg.AsyncConnection.connect(server.database.owner) as conn:
        await conn.execute("drop trigger a_school_is_open on public.profiles")
        await conn.execute("select public.add_school('A closed school')")
    await _fill(settings, server.database.worker, 2, name.upper())

    async with await psycopg.AsyncConnection.connect(server.database.owner) as conn:
        cursor = await conn.execute("select count(*) from profiles where simulated and admitted")
        assert await cursor.fetchone() == (2,)


async def test_filling_twice_changes_nothing(system: System, settings: Settings) -> None:
    await _fill(settings, system.database.worker, 4)
    await _fill(settings, system.database.worker, 4)

    async with await psycopg.AsyncConnection.connect(system.database.owner) as conn:
        cursor = await conn.execute("select count(*) from profiles where simulated")
        assert await cursor.fetchone() == (4,)


async def test_removal_leaves_only_the_real(system: System, settings: Settings) -> None:
    await _fill(settings, system.database.worker, 20)
    person = await system.join("female")
    await person.matched(encode(astronaut()))
    assert await person.feed()

    async with Database(system.database.worker, PoolSettings(), name="test") as db:
        removed = [None async for _ in empty_school(db, make_photos(settings))]

    assert len(removed) == 20
    assert await person.feed() == []
    async with await psycopg.AsyncConnection.connect(system.database.owner) as conn:
        cursor = await conn.execute(
            "select (select count(*) from profiles), (select count(*) from faces),"
            " (select count(*) from matches)"
        )
        assert await cursor.fetchone() == (1, 1, 0)
    files = {path.name.partition(".")[0] for path in (settings.home / "photos").rglob("*.jpg")}
    assert len(files) == 1
