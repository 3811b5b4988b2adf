"""The feed over HTTP: pages of it, and a stream that loses nothing however often it breaks."""

from __future__ import annotations

import asyncio
import json
import random
import time
from contextlib import AsyncExitStack
from typing import Any

import pytest
from PIL import ImageOps

from automatch.settings import Settings
from automatch.settings.server import FeedSettings
from automatch.vision import Embedder
from tests.attack.test_tokens import claims_of, forge
from tests.support.build import connect
from tests.support.matches import add_matches, add_own_face, faces_in_feed
from tests.support.photos import astronaut, encode
from tests.support.postgres import Database, TestCluster
from tests.support.raw_http import Wire, wire
from tests.support.system import Event, Person, System, running_server, running_worker
from tests.support.waiting import PATIENCE_S, until

pytestmark = pytest.mark.anyio


async def read(person: Person, count: int, **where: Any) -> list[Event]:
    """Return the next events of a stream that are no `ready`."""
    found: list[Event] = []
    async with asyncio.timeout(PATIENCE_S), person.stream(**where) as events:
        async for event in events:
            if event.kind != "ready":
                found.append(event)
            if len(found) == count:
                break
    return found


def faces_of(events: list[Event]) -> list[str]:
    return [event.data["face"]["id"] for event in events if event.kind == "match"]


async def test_pages_together_are_the_feed_newest_first(
    server: System, subtests: pytest.Subtests
) -> None:
    her = await server.join()
    own = await add_own_face(server.database, her.id)
    added = [str(face) for face in await add_matches(server.database, her.id, own, 120)]
    newest_first = added[::-1]
    for limit, pages in [(1, 3), (7, 18), (40, 3), (99, 2), (100, 2)]:
        with subtests.test(limit=limit):
            seen, cursor, asked = [], None, 0
            while asked < pages:
                params = {"limit": limit} | ({"cursor": cursor} if cursor else {})
                page = (await her.get("/api/matches", params=params)).json()
                assert len(page["matches"]) <= limit
                seen += [match["face"]["id"] for match in page["matches"]]
                cursor, asked = page["next_cursor"], asked + 1
                if cursor is None:
                    break
            assert seen == newest_first[: len(seen)]
            assert (cursor is None) == (len(seen) == len(added))
            assert asked == pages


async def test_match_tells_what_a_card_needs_and_no_exact_score(server: System) -> None:
    her = await server.join()
    own = await add_own_face(server.database, her.id)
    [face] = await add_matches(server.database, her.id, own, name="Minh")

    [match] = await her.feed()

    assert set(match) == {
        "id",
        "profile",
        "face",
        "own_face_id",
        "similarity",
        "liked",
        "mutual",
        "was_mutual",
        "shared",
        "simulated",
        "created_at",
    }
    assert match["profile"]["name"] == "Minh"
    assert match["own_face_id"] == str(own)
    assert match["face"]["id"] == str(face)
    assert round(match["similarity"] * 20, 6) % 1 == 0


async def test_feed_goes_on_as_a_stream_without_a_gap(server: System) -> None:
    her = await server.join()
    own = await add_own_face(server.database, her.id)
    before = await add_matches(server.database, her.id, own, 3)
    page = (await her.get("/api/matches")).json()
    missed = await add_matches(server.database, her.id, own, 3)

    events = await read(her, 3, after=page["last_event_id"])

    assert len(page["matches"]) == len(before)
    assert faces_of(events) == [str(face) for face in missed]


async def test_stream_starts_with_where_it_is(server: System) -> None:
    her = await server.join()
    own = await add_own_face(server.database, her.id)
    await add_matches(server.database, her.id, own, 2)

    async with her.stream() as events:
        ready = await anext(events)

    assert (ready.kind, ready.data, ready.id) == ("ready", {}, "2")


@pytest.mark.parametrize("header", [True, False], ids=["Last-Event-ID", "?after="])
async def test_stream_resumes_with_exactly_what_was_missed(server: System, header: bool) -> None:
    her = await server.join()
    own = await add_own_face(server.database, her.id)
    added = [str(face) for face in await add_matches(server.database, her.id, own, 250)]

    where = {"last_event_id": "30"} if header else {"after": 30}
    events = await read(her, 220, **where)

    assert faces_of(events) == added[30:]
    assert [event.id for event in events] == [str(position) for position in range(31, 251)]


async def test_last_event_id_wins_and_nonsense_is_ignored(server: System) -> None:
    her = await server.join()
    own = await add_own_face(server.database, her.id)
    added = await add_matches(server.database, her.id, own, 3)

    both = await read(her, 1, after=0, last_event_id="2")
    nonsense = await read(her, 3, after=0, last_event_id="x")

    assert faces_of(both) == [str(added[2])]
    assert len(nonsense) == 3
    async with her.stream(last_event_id="999999") as events:
        assert (await anext(events)).id == "3"


async def test_match_arrives_without_a_poll(server: System) -> None:
    her = await server.join()
    own = await add_own_face(server.database, her.id)
    async with asyncio.timeout(PATIENCE_S), her.stream() as events:
        assert (await anext(events)).kind == "ready"
        [face] = await add_matches(server.database, her.id, own)
        event = await anext(events)

    assert event.data["face"]["id"] == str(face)


async def test_restart_of_the_server_loses_nothing(
    settings: Settings, cluster: TestCluster, database: Database
) -> None:
    async with running_server(settings, cluster.secrets, database) as first:
        her = await first.join()
        own = await add_own_face(database, her.id)
        await add_matches(database, her.id, own, 2)
        last = (await read(her, 2, after=0))[-1].id
    missed = await add_matches(database, her.id, own, 3)

    async with running_server(settings, cluster.secrets, database) as second:
        again = Person(her.id, her.email, her.token, second.client)
        events = await read(again, 3, last_event_id=last)

    assert faces_of(events) == [str(face) for face in missed]


async def test_server_that_stops_ends_its_streams(
    settings: Settings, cluster: TestCluster, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    # For as long a server would wait for a stream that does not end.
    monkeypatch.setattr("automatch.cli.runtime.serving.http_server._GRACE_S", 600)
    async with AsyncExitStack() as stack:
        async with running_server(settings, cluster.secrets, database) as system:
            her = await system.join()
            connection = await stack.enter_async_context(wire(system))
            await connection.send(_stream_request(her, "0"))
            await connection.reader.readuntil(b"event: ready")

        assert b"event:" not in await connection.rest()


async def test_dropped_connections_lose_nothing_while_matches_arrive(
    settings: Settings, cluster: TestCluster, database: Database
) -> None:
    chance = random.Random(7)
    many = settings.model_copy(update={"feed": FeedSettings(poll_s=600, ping_s=0.2)})
    async with running_server(many, cluster.secrets, database) as system:
        her = await system.join()
        own = await add_own_face(database, her.id)
        writers = [asyncio.create_task(add_matches(database, her.id, own, 60)) for _ in range(3)]
        seen: dict[str, str] = {}
        last, drops = "0", 0
        async with asyncio.timeout(150):
            while len(seen) < 180:
                async with wire(system) as connection:
                    await connection.send(_stream_request(her, last))
                    received = await _some(connection, chance.randrange(1, 6000))
                drops += 1
                for event_id, face in _whole_events(received):
                    seen[face] = event_id
                    last = event_id
        written = {str(face) for faces in await asyncio.gather(*writers) for face in faces}

        assert set(seen) == written == await faces_in_feed(database, her.id)
        assert sorted(map(int, seen.values())) == list(range(1, 181))
        assert drops > 30


async def test_stream_of_an_expired_token_ends_with_reauth(
    settings: Settings, cluster: TestCluster, database: Database
) -> None:
    quick = settings.model_copy(update={"feed": FeedSettings(poll_s=600, ping_s=0.1)})
    async with running_server(quick, cluster.secrets, database) as system:
        her = await system.join()
        soon = forge(system.secrets.jwt_secret, claims_of(her.token) | {"exp": int(time.time())})
        short = Person(her.id, her.email, soon, her.client)
        async with asyncio.timeout(PATIENCE_S), short.stream() as events:
            kinds = [event.kind async for event in events]

    assert kinds == ["ready", "reauth"]


async def test_seventh_stream_of_a_person_is_refused_and_others_are_not(server: System) -> None:
    her, other = await server.join(), await server.join()
    most = server.settings.feed.max_streams_per_person
    opened = asyncio.Semaphore(0)
    async with asyncio.TaskGroup() as group:
        held = [group.create_task(_read_to_the_end(her, opened)) for _ in range(most)]
        for _ in held:
            await opened.acquire()

        refused = await her.get("/api/matches/stream")
        async with other.stream() as events:
            assert (await anext(events)).kind == "ready"
        for task in held:
            task.cancel()
    assert (refused.status_code, refused.json()["error"]["code"]) == (429, "too_many_streams")
    assert int(refused.headers["retry-after"]) > 0

    await _until_there_is_room(her)


async def test_reader_that_never_reads_gives_its_place_back(
    settings: Settings, cluster: TestCluster, database: Database
) -> None:
    feed = FeedSettings(poll_s=600, max_streams_per_person=1)
    one = settings.model_copy(update={"feed": feed})
    async with running_server(one, cluster.secrets, database) as system:
        her = await system.join()
        own = await add_own_face(database, her.id)
        await add_matches(database, her.id, own, 300)
        async with wire(system) as connection:
            await connection.send(_stream_request(her, "0"))
            await connection.reader.readuntil(b"event: match")
            assert (await her.get("/api/matches/stream")).status_code == 429

        await _until_there_is_room(her)


async def test_pings_keep_a_quiet_stream_and_are_no_events(
    settings: Settings, cluster: TestCluster, database: Database
) -> None:
    quick = settings.model_copy(update={"feed": FeedSettings(poll_s=600, ping_s=0.05)})
    async with running_server(quick, cluster.secrets, database) as system:
        her = await system.join()
        own = await add_own_face(database, her.id)
        async with wire(system) as connection:
            await connection.send(_stream_request(her, "0"))
            for _ in range(3):
                await asyncio.wait_for(connection.reader.readuntil(b": ping\n\n"), 60)
            [face] = await add_matches(database, her.id, own)
            text = await asyncio.wait_for(connection.reader.readuntil(b"event: match\n"), 60)
            data = await connection.reader.readline()

    assert b"event: job" not in text
    assert json.loads(data.partition(b": ")[2])["face"]["id"] == str(face)


async def test_stream_that_waits_is_no_task_and_tells_what_comes_then(
    server: System, database: Database
) -> None:
    her = await server.join()
    own = await add_own_face(database, her.id)
    before = asyncio.all_tasks()

    async def has_no_task() -> bool:
        new = asyncio.all_tasks() - before
        # What waits by `asyncio.wait_for`, as any pool does, begins a task for each wait.
        return all(task.get_coro().__qualname__ == "Event.wait" for task in new)

    async with AsyncExitStack() as stack, asyncio.timeout(PATIENCE_S):
        streams = [await stack.enter_async_context(wire(server)) for _ in range(4)]
        for stream in streams:
            await stream.send(_stream_request(her, "0"))
            await stream.reader.readuntil(b"event: ready")
        await until(has_no_task)
        await add_matches(database, her.id, own)
        for stream in streams:
            await stream.reader.readuntil(b"event: match")


async def test_card_of_an_erased_person_goes_by_its_match_and_no_id_of_the_person(
    server: System,
) -> None:
    her = await server.join()
    await add_matches(server.database, her.id, await add_own_face(server.database, her.id))
    [match] = await her.feed()
    async with asyncio.timeout(PATIENCE_S), her.stream() as events:
        assert (await anext(events)).kind == "ready"
        with connect(server.database.owner, autocommit=True) as conn:
            conn.execute("delete from public.profiles where id = %s", [match["profile"]["id"]])
        async for event in events:
            if event.kind == "gone":
                break

    assert event.data["id"] == match["id"]
    assert event.data["profile"]["id"] != match["profile"]["id"]
    assert await her.feed() == []


@pytest.mark.parametrize("reason", ["dismiss", "block", "withdraw", "erase"])
async def test_card_goes_when_the_match_does(server: System, reason: str) -> None:
    her = await server.join()
    own = await add_own_face(server.database, her.id)
    await add_matches(server.database, her.id, own)
    [match] = await her.feed()
    method, path = {
        "dismiss": ("POST", f"/api/matches/{match['id']}/dismiss"),
        "block": ("POST", f"/api/profiles/{match['profile']['id']}/block"),
        "withdraw": ("DELETE", "/api/profile/consent"),
        "erase": ("DELETE", f"/api/faces/{own}"),
    }[reason]
    async with asyncio.timeout(PATIENCE_S), her.stream() as events:
        assert (await anext(events)).kind == "ready"
        answer = await server.client.request(method, path, headers=her.headers)
        async for event in events:
            if event.kind == "gone":
                break

    assert answer.status_code == 204
    assert event.data == {"id": match["id"], "profile": {"id": match["profile"]["id"]}}
    assert event.id == "2"
    assert await her.feed() == []
    if reason == "dismiss":
        again = await server.client.request(method, path, headers=her.headers)
        assert again.status_code == 204


async def test_progress_of_jobs_comes_on_the_stream(system: System) -> None:
    her = await system.join("female")
    async with asyncio.timeout(PATIENCE_S), her.stream() as events:
        assert (await anext(events)).kind == "ready"
        job_id = (await her.upload(encode(astronaut()))).json()["job"]["id"]
        reply = []
        async for event in events:
            assert event.kind == "job"
            assert event.id is None
            assert event.data["id"] == job_id
            reply.append(event.data["status"])
            if reply[-1] == "completed":
                break

    # A state that lasts shorter than a look may be skipped; none comes twice or out of order.
    order = ["pending", "processing", "completed"]
    assert reply == [status for status in order if status in reply]
    assert event.data["match_count"] == 0


async def test_every_one_of_many_uploads_is_told_to_its_end(
    server: System, settings: Settings, cluster: TestCluster, embedder: Embedder
) -> None:
    her = await server.join("female")
    ids = set()
    for width in range(8):
        photo = encode(ImageOps.expand(astronaut(), width))
        ids.add((await her.upload(photo)).json()["job"]["id"])
    ended: set[str] = set()
    async with asyncio.timeout(PATIENCE_S), her.stream() as events:
        assert (await anext(events)).kind == "ready"
        async with running_worker(settings, cluster.secrets, embedder):
            async for event in events:
                if event.kind == "job" and event.data["status"] == "completed":
                    ended.add(event.data["id"])
                if ended == ids:
                    break

    assert len(ended) == 8


async def test_stream_tells_of_nobody_else(server: System) -> None:
    her, other = await server.join(), await server.join()
    own, others = [await add_own_face(server.database, one.id) for one in (her, other)]
    async with asyncio.timeout(PATIENCE_S), her.stream() as events:
        assert (await anext(events)).kind == "ready"
        await add_matches(server.database, other.id, others, 3)
        [face] = await add_matches(server.database, her.id, own)
        event = await anext(events)

    assert (event.id, event.data["face"]["id"]) == ("1", str(face))


async def _read_to_the_end(person: Person, opened: asyncio.Semaphore) -> list[str]:
    kinds = []
    async with person.stream() as events:
        async for event in events:
            kinds.append(event.kind)
            opened.release()
    return kinds


async def _until_there_is_room(person: Person) -> None:
    """Open a stream as soon as the person may."""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            request = person.client.stream("GET", "/api/matches/stream", headers=person.headers)
            async with request as answer:
                if answer.status_code == 200:
                    return


def _stream_request(person: Person, last: str) -> bytes:
    # HTTP/1.0 is answered without chunks: what comes is what was sent.
    return (
        "GET /api/matches/stream HTTP/1.0\r\nHost: x\r\n"
        f"Authorization: Bearer {person.token}\r\nLast-Event-ID: {last}\r\n\r\n"
    ).encode()


async def _some(connection: Wire, size: int) -> bytes:
    """Read until so much has come, or a ping, before which all that there is has come."""
    received = b""
    while len(received) < size and b": ping" not in received:
        if not (more := await connection.reader.read(size)):
            break
        received += more
    return received[:size]


def _whole_events(received: bytes) -> list[tuple[str, str]]:
    """Return id and face of the matches that came whole."""
    body = received.partition(b"\r\n\r\n")[2]
    found = []
    for block in body.split(b"\n\n")[:-1]:
        fields = dict(line.split(": ", 1) for line in block.decode().splitlines() if line)
        if fields.get("event") == "match":
            found.append((fields["id"], json.loads(fields["data"])["face"]["id"]))
    return found
