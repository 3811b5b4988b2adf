"""The memory of uploads: bounded for each person and in all, and given back however one ends."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import httpx2
import pytest

from automatch.settings import Settings
from automatch.settings.server import UploadSettings
from tests.support.photos import astronaut, encode
from tests.support.postgres import Database, TestCluster
from tests.support.raw_http import Wire, form, part, upload_head, wire
from tests.support.system import Person, System, running_server
from tests.support.waiting import PATIENCE_S

pytestmark = pytest.mark.anyio

_SIZE = 1_040_000
"""Two of these fit into the memory of all; beside one, no photo fits into that of a person."""
_START = part('name="file"; filename="a.jpg"', b"")[:-2]


@pytest.fixture
async def small(
    settings: Settings, cluster: TestCluster, database: Database
) -> AsyncIterator[System]:
    """Give a server with little memory for uploads."""
    upload = UploadSettings(memory_mb=2, memory_per_person_mb=1, stall_timeout_s=60)
    bounded = settings.model_copy(update={"upload": upload})
    async with running_server(bounded, cluster.secrets, database) as system:
        yield system


@asynccontextmanager
async def held_back(
    system: System, person: Person, length: str = f"Content-Length: {_SIZE}"
) -> AsyncIterator[Wire]:
    """Begin an upload, and wait until the server has asked for its body."""
    async with wire(system) as connection:
        await connection.send(upload_head(person.token, length, "Expect: 100-continue"))
        async with asyncio.timeout(PATIENCE_S):
            asked = await connection.reader.readuntil(b"\r\n\r\n")
        assert asked.startswith(b"HTTP/1.1 100 ")
        yield connection


def told(answer: httpx2.Response) -> tuple[int, str]:
    assert int(answer.headers["retry-after"]) > 0
    return answer.status_code, answer.json()["error"]["code"]


async def until_taken(person: Person) -> None:
    """Upload until a connection that was closed has been noticed."""
    async with asyncio.timeout(PATIENCE_S):
        while (answer := await person.upload(encode(astronaut()))).status_code == 429:
            pass
    assert answer.status_code == 202


async def test_uploads_past_the_memory_are_refused_before_their_body_is_read(
    small: System,
) -> None:
    photo = encode(astronaut())
    one, other, third = [await small.join() for _ in range(3)]
    async with AsyncExitStack() as held:
        await held.enter_async_context(held_back(small, one))
        assert told(await one.upload(photo)) == (429, "uploads_at_once")
        assert (await other.upload(photo)).status_code == 202
        await held.enter_async_context(held_back(small, other))

        assert told(await third.upload(photo)) == (503, "uploads_busy")
        async with wire(small) as connection:
            length = f"Content-Length: {_SIZE}"
            await connection.send(upload_head(third.token, length, "Expect: 100-continue"))
            assert (await connection.answer()).code == "uploads_busy"
        page = await small.client.post(
            "/upload",
            files={"file": ("a.jpg", photo)},
            headers={"cookie": f"automatch_access={third.token}", "origin": small.url},
        )
        assert (page.status_code, page.headers["retry-after"]) == (503, "5")
        assert "very busy right now. Try again in a moment." in page.text
        # Small bodies need no reservation.
        answer = await small.client.put("/api/profile", headers=third.headers, json={})
        assert answer.status_code == 422


async def test_memory_is_given_back_however_an_upload_ends(
    small: System, subtests: pytest.Subtests
) -> None:
    person = await small.join()
    photo = encode(astronaut())
    disposition = 'name="file"; filename="a.jpg"'
    no_photo = b"x" * (_SIZE - len(form(part(disposition, b""))))
    for name, sent, status in [
        ("cut off before its body", b"", None),
        ("cut off in its body", _START + photo, None),
        ("no photo", form(part(disposition, no_photo)), 415),
        ("no form", b"x" * _SIZE, 400),
    ]:
        with subtests.test(name):
            async with held_back(small, person) as connection:
                await connection.send(sent)
                if status is not None:
                    assert (await connection.answer()).status == status
            await until_taken(person)
    with subtests.test("endless"):
        async with held_back(small, person, "Transfer-Encoding: chunked") as connection:
            await connection.send(b"%x\r\n%b\r\n" % (len(_START), _START))
            for _ in range(16):
                await connection.send(b"%x\r\n%b\r\n" % (_SIZE, bytes(_SIZE)))
            assert (await connection.answer()).status == 413
        await until_taken(person)


async def test_single_upload_is_taken_however_little_memory_there_is(
    settings: Settings, cluster: TestCluster, database: Database
) -> None:
    tight = settings.model_copy(
        update={"upload": UploadSettings(memory_mb=1, memory_per_person_mb=1)}
    )
    async with running_server(tight, cluster.secrets, database) as system:
        person = await system.join()
        padded = encode(astronaut(), "PNG") + bytes(2_000_000)

        assert (await person.upload(padded)).status_code == 202
