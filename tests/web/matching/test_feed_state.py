"""What an open feed learns that no photo and no match tells it."""

from __future__ import annotations

from collections.abc import AsyncIterator

import psycopg
import pytest

from tests.support.postgres import Database
from tests.support.system import System
from tests.web.test_pages import browser, onboard, sign_up

pytestmark = pytest.mark.anyio


async def wait_for(lines: AsyncIterator[str], wanted: str) -> None:
    async for line in lines:
        if line == wanted:
            return
    raise AssertionError("the stream ended")


async def test_open_page_learns_that_its_person_was_frozen_or_hides(
    server: System, database: Database
) -> None:
    async with (
        browser(server) as client,
        await psycopg.AsyncConnection.connect(database.owner, autocommit=True) as conn,
    ):
        await sign_up(client)
        await onboard(client)
        assert "Who looks like you?" in (await client.get("/feed/state")).json()["html"]
        async with client.stream("GET", "/feed/stream") as stream:
            lines = stream.aiter_lines()
            await wait_for(lines, "event: new")

            await conn.execute("update public.profiles set discoverable = false")
            await wait_for(lines, "event: state")
            hidden = (await client.get("/feed/state")).json()
            await conn.execute("select public.freeze_person(id, 'x') from public.profiles")
            await wait_for(lines, "event: state")
            frozen = (await client.get("/feed/state")).json()

    assert (hidden["waiting"], "hidden" in hidden["html"]) == ("", True)
    assert frozen["waiting"] == "frozen"
    assert "Your account is frozen" in frozen["html"]
