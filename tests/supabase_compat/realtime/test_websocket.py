"""The websocket of supabase clients: joining, leaving, and whom it tells what."""

from __future__ import annotations

import asyncio
import time
from contextlib import AsyncExitStack
from types import SimpleNamespace
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest
from websockets.exceptions import InvalidStatus

from automatch.feed.reader import FeedReader
from automatch.model.people import Claims, Role
from automatch.settings import Settings
from automatch.settings.database import PoolSettings
from automatch.settings.server import FeedSettings, RealtimeSettings
from automatch.store.database import Database as Pool
from automatch.supabase_compat.realtime.source import JobSource, MatchSource
from automatch.supabase_compat.realtime.table import JOBS, MATCHES
from tests.attack.test_tokens import claims_of, forge
from tests.sql.test_security import READABLE
from tests.support.matches import add_matches, add_own_face, match_faces
from tests.support.phoenix import INSERTS, anon_key, phone
from tests.support.photos import astronaut, encode
from tests.support.postgres import Database, TestCluster
from tests.support.system import Person, System, running_server
from tests.support.waiting import PATIENCE_S, until

pytestmark = pytest.mark.anyio

VERSIONS = pytest.mark.parametrize("version", ["1.0.0", "2.0.0"])
JOB_CHANGES = {"event": "*", "schema": "public", "table": "match_jobs"}


def other_faces(records: list[dict[str, Any]], own: object) -> list[str]:
    """Return the face of the other person in each of the records."""
    pairs = [{record["face_a_id"], record["face_b_id"]} - {str(own)} for record in records]
    return [face for (face,) in pairs]


async def end_connections(database: Database, name: str) -> int:
    """End what the server has open to the database under a name; how many there were."""
    async with await psycopg.AsyncConnection.connect(database.owner, autocommit=True) as conn:
        cursor = await conn.execute(
            "select count(pg_terminate_backend(pid)) from pg_stat_activity"
            " where datname = current_database() and application_name = %s",
            [name],
        )
        row = await cursor.fetchone()
        return row[0] if row else 0


def with_expiry(system: System, person: Person, seconds: float) -> Person:
    """Return the person with a token that is good for so long."""
    claims = claims_of(person.token) | {"exp": int(time.time() + seconds)}
    return Person(person.id, person.email, forge(system.secrets.jwt_secret, claims), person.client)


def test_sent_columns_are_those_a_person_may_select() -> None:
    assert set(MATCHES.columns) == READABLE["matches"]
    assert set(JOBS.columns) <= READABLE["match_jobs"]


@VERSIONS
async def test_channel_is_joined_kept_alive_and_left(server: System, version: str) -> None:
    her = await server.join()
    async with phone(server, version) as line:
        assert await line.ask("phoenix", "heartbeat") == ("ok", {})
        ref = await line.send(
            "realtime:mine",
            "phx_join",
            {"config": {"postgres_changes": [INSERTS]}, "access_token": her.token},
        )
        reply = await line.receive()
        system = await line.receive()
        left = await line.ask("realtime:mine", "phx_leave")
        closed = await line.receive()

        assert (reply["event"], reply["ref"], reply["join_ref"]) == ("phx_reply", ref, ref)
        assert reply["payload"] == {
            "status": "ok",
            "response": {"postgres_changes": [{**INSERTS, "id": 1}]},
        }
        assert (system["event"], system["ref"]) == ("system", None)
        assert system["payload"] == {
            "status": "ok",
            "message": "Subscribed to PostgreSQL",
            "extension": "postgres_changes",
            "channel": "mine",
        }
        assert left == ("ok", {})
        assert (closed["event"], closed["ref"], closed["topic"]) == (
            "phx_close",
            ref,
            "realtime:mine",
        )
        assert await line.ask("realtime:mine", "phx_leave") == ("ok", {})
        status, told = await line.ask("realtime:mine", "access_token", {"access_token": "x"})
        assert (status, told) == ("error", {"reason": "unmatched topic"})


@VERSIONS
async def test_new_match_is_sent_with_readable_columns(server: System, version: str) -> None:
    her = await server.join()
    own = await add_own_face(server.database, her.id)
    await add_matches(server.database, her.id, own)
    async with phone(server, version) as line:
        [number] = await line.joined(her)

        [face] = await add_matches(server.database, her.id, own)
        event, payload = await line.event()

        assert event == "postgres_changes"
        assert payload["ids"] == [number]
        data = payload["data"]
        record = data.pop("record")
        columns = {column["name"]: column["type"] for column in data.pop("columns")}
        assert data.pop("commit_timestamp") == record["created_at"]
        assert data == {"schema": "public", "table": "matches", "type": "INSERT", "errors": None}
        assert set(record) == set(columns) == READABLE["matches"]
        assert columns["id"] == "uuid"
        assert columns["created_at"] == "timestamptz"
        assert {record["face_a_id"], record["face_b_id"]} == {str(own), str(face)}
        assert await line.is_quiet()


async def test_match_that_the_feed_does_not_show_is_sent_to_both(server: System) -> None:
    her, him = await server.join("female"), await server.join("male")
    best, worse, worst = [await add_own_face(server.database, her.id) for _ in "abc"]
    his = await add_own_face(server.database, him.id)
    await match_faces(server.database, best, his)
    async with phone(server) as hers, phone(server) as other:
        await hers.joined(her)
        await other.joined(him)
        before = (await her.get("/api/matches")).json()

        await match_faces(server.database, worse, his, similarity=0.6)
        told = await hers.records(1)

        # The notifier knows both by now: without a mark that changes, nobody would be woken.
        await match_faces(server.database, worst, his, similarity=0.55)
        told += await hers.records(1)

        assert other_faces(told[:1], worse) == other_faces(told[1:], worst) == [str(his)]
        assert await other.records(2) == told
        assert (await her.get("/api/matches")).json()["last_event_id"] == before["last_event_id"]


async def test_nothing_is_lost_or_doubled_while_connections_break(
    settings: Settings, cluster: TestCluster, database: Database
) -> None:
    quick = settings.model_copy(update={"feed": FeedSettings(poll_s=0.2)})
    async with running_server(quick, cluster.secrets, database) as system:
        her = await system.join()
        own = await add_own_face(database, her.id)
        async with phone(system) as line:
            await line.joined(her)
            writers = [asyncio.create_task(add_matches(database, her.id, own, 40)) for _ in "abc"]
            records: list[dict[str, Any]] = []
            while len(records) < 120:
                records += await line.records(1)
                if len(records) % 20 == 0:
                    # On a busy machine it may not be back from the last time.
                    await until(lambda: end_connections(database, "automatch-feed-listen"))
                    await end_connections(database, "automatch-api-feed")
            written = {str(face) for faces in await asyncio.gather(*writers) for face in faces}

            assert await line.is_quiet()
        assert len({record["id"] for record in records}) == 120
        assert set(other_faces(records, own)) == written
        # One writer's matches come in the order in which it committed them.
        for faces in [task.result() for task in writers]:
            told = [face for face in other_faces(records, own) if face in set(map(str, faces))]
            assert told == [str(face) for face in faces]


@pytest.mark.parametrize("kind", [MatchSource, JobSource])
async def test_rows_are_read_again_until_they_are_committed(
    server: System, kind: type[MatchSource | JobSource]
) -> None:
    her = await server.join()
    own = await add_own_face(server.database, her.id)
    claims = Claims(role=Role.AUTHENTICATED, subject=UUID(her.id))
    source = kind()
    async with Pool(server.database.api, PoolSettings(), name="automatch-test") as db:
        async with db.as_user(claims) as conn:
            await source.start(conn)
        await add_matches(server.database, her.id, own)
        await her.upload(encode(astronaut()))
        reader = FeedReader(db)

        # The client may be gone before it has got what was read.
        read = [await source.read(reader, claims) for _ in range(2)]
        source.commit()
        after = await source.read(reader, claims)

    assert len(read[0]) == 1
    assert read[0] == read[1]
    assert after == []


async def test_match_that_may_not_be_read_is_skipped(server: System) -> None:
    her = await server.join()
    own = await add_own_face(server.database, her.id)
    async with phone(server) as line:
        await line.joined(her)

        await add_matches(server.database, her.id, own, 150, school="Another")
        [face] = await add_matches(server.database, her.id, own)

        assert other_faces(await line.records(1), own) == [str(face)]
        assert await line.is_quiet()


async def test_people_get_only_their_own_matches(server: System) -> None:
    her, other = await server.join(), await server.join()
    own = await add_own_face(server.database, her.id)
    others = await add_own_face(server.database, other.id)
    async with phone(server) as line:
        # The topic says nothing about whose rows come.
        [mine] = await line.joined(her, topic="realtime:a")
        [theirs] = await line.joined(other, topic=f"realtime:{her.id}")

        [first] = await add_matches(server.database, her.id, own)
        event, payload = await line.event()
        [second] = await add_matches(server.database, other.id, others)
        _, told = await line.event()

        assert event == "postgres_changes"
        assert payload["ids"] == [mine]
        assert other_faces([payload["data"]["record"]], own) == [str(first)]
        assert told["ids"] == [theirs]
        assert other_faces([told["data"]["record"]], others) == [str(second)]
        assert await line.is_quiet()


async def test_filters_and_columns_of_a_subscription_apply(server: System) -> None:
    her = await server.join()
    own = await add_own_face(server.database, her.id)
    never = f"id=eq.{uuid4()}"
    async with phone(server) as line:
        ids = await line.joined(
            her,
            INSERTS,
            {**INSERTS, "filter": f"face_a_id=in.({own},{uuid4()})", "select": ["id"]},
            {**INSERTS, "filter": f"face_b_id=eq.{own}", "select": ["id"]},
            {**INSERTS, "filter": never},
            {**INSERTS, "filter": "created_at=gt.2026-01-01T00:00:00Z,created_at=lt.2999-01-01"},
            {**INSERTS, "event": "*", "filter": f"id=not.eq.{uuid4()}", "select": ["face_a_id"]},
        )

        [face] = await add_matches(server.database, her.id, own)
        told = dict([_told(await line.event()) for _ in range(3)])

        side = ids[1] if str(own) < str(face) else ids[2]
        assert told == {
            (ids[0], ids[4]): READABLE["matches"],
            (side,): {"id"},
            (ids[5],): {"face_a_id"},
        }
        assert await line.is_quiet()


async def test_channel_with_an_expired_token_is_closed_with_a_reason(server: System) -> None:
    her = await server.join()
    async with phone(server) as line:
        await line.joined(with_expiry(server, her, 0))

        event, payload = await line.event()
        closed, _ = await line.event()

        assert event == "system"
        assert payload["status"] == "error"
        assert "expired" in payload["message"]
        assert closed == "phx_close"
        assert (await line.ask("realtime:x", "access_token"))[0] == "error"
        await line.joined(her)


async def test_new_token_of_the_same_person_continues_without_a_gap(
    server: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    her = await server.join()
    own = await add_own_face(server.database, her.id)
    async with phone(server) as line:
        await line.joined(with_expiry(server, her, 200))
        await line.send("realtime:x", "access_token", {"access_token": her.token})
        faces = await add_matches(server.database, her.id, own, 2)

        records = await line.records(2)
        later = SimpleNamespace(time=lambda: time.time() + 300)
        monkeypatch.setattr("automatch.supabase_compat.realtime.channel.time", later)
        faces += await add_matches(server.database, her.id, own)
        records += await line.records(1)

        assert other_faces(records, own) == [str(face) for face in faces]


async def test_project_key_stops_a_channel_and_another_person_restarts_it(server: System) -> None:
    her, other = await server.join(), await server.join()
    own = await add_own_face(server.database, her.id)
    others = await add_own_face(server.database, other.id)
    async with phone(server) as line:
        await line.joined(her)
        await line.send("realtime:x", "access_token", {"access_token": anon_key(server)})
        assert await line.is_quiet()
        await add_matches(server.database, her.id, own)
        assert await line.is_quiet()
        await line.send("realtime:x", "access_token", {"access_token": other.token})
        assert await line.is_quiet()

        await add_matches(server.database, her.id, own)
        [face] = await add_matches(server.database, other.id, others)

        assert other_faces(await line.records(1), others) == [str(face)]
        assert await line.is_quiet()


async def test_signed_out_person_gets_nothing_more(server: System) -> None:
    her = await server.join()
    own = await add_own_face(server.database, her.id)
    async with phone(server) as line:
        await line.joined(her)
        answer = await server.client.post("/auth/v1/logout", headers=her.headers)
        assert answer.status_code == 204

        await add_matches(server.database, her.id, own)
        event, payload = await line.event()

        assert (event, payload["status"]) == ("system", "error")
        assert (await line.event())[0] == "phx_close"
        assert await line.is_quiet()


@pytest.mark.parametrize("way", ["blocked", "dismissed", "withdrawn"])
async def test_block_dismissal_and_withdrawal_are_respected(server: System, way: str) -> None:
    her, him = await server.join("female"), await server.join("male")
    first, second = [await add_own_face(server.database, her.id) for _ in "ab"]
    his = await add_own_face(server.database, him.id)
    await match_faces(server.database, first, his)
    [match] = await her.feed()
    method, path = {
        "blocked": ("POST", f"/api/profiles/{him.id}/block"),
        "dismissed": ("POST", f"/api/matches/{match['id']}/dismiss"),
        "withdrawn": ("DELETE", "/api/profile/consent"),
    }[way]
    async with phone(server) as hers, phone(server) as other:
        await hers.joined(her)
        await other.joined(him)

        answer = await server.client.request(method, path, headers=her.headers)
        await match_faces(server.database, second, his)
        nina = await server.join("female")
        [face] = [await add_own_face(server.database, nina.id)]
        await match_faces(server.database, face, his)

        assert answer.status_code == 204
        assert other_faces(await other.records(1), his) == [str(face)]
        assert await other.is_quiet()
        assert await hers.is_quiet()


async def test_owner_gets_every_change_of_a_job(system: System) -> None:
    her, other = await system.join(), await system.join()
    async with phone(system) as hers, phone(system) as others:
        await hers.joined(her, JOB_CHANGES)
        await others.joined(other, JOB_CHANGES)

        job = (await her.upload(encode(astronaut()))).json()["job"]
        told = [(await hers.event())[1]["data"]]
        while told[-1]["record"]["status"] != "completed":
            told.append((await hers.event())[1]["data"])

        assert [data["type"] for data in told] == ["INSERT", *["UPDATE"] * (len(told) - 1)]
        assert all(data["record"]["id"] == job["id"] for data in told)
        assert all(data["old_record"] == {"id": job["id"]} for data in told[1:])
        assert set(told[-1]["record"]) == set(JOBS.columns)
        assert told[-1]["record"]["match_count"] == 0
        assert await others.is_quiet()


async def test_stopping_server_closes_connections(
    settings: Settings, cluster: TestCluster, database: Database
) -> None:
    async with AsyncExitStack() as stack:
        async with running_server(settings, cluster.secrets, database) as system:
            her = await system.join()
            line = await stack.enter_async_context(phone(system))
            await line.joined(her)

        assert await line.closed() == (1001, "the server stops")


async def test_silent_connection_is_closed(
    settings: Settings, cluster: TestCluster, database: Database
) -> None:
    brief = settings.model_copy(update={"realtime": RealtimeSettings(idle_s=4)})
    async with running_server(brief, cluster.secrets, database) as system:
        her = await system.join()
        async with phone(system) as line:
            await line.joined(her)

            assert await line.closed() == (1000, "no heartbeat")


async def test_connection_without_a_channel_is_closed(
    server: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("automatch.supabase_compat.realtime.websocket._JOIN_WITHIN_S", 0.3)
    async with phone(server) as line:
        assert await line.closed() == (1000, "no channel was joined")


async def test_connections_are_limited_and_released(
    settings: Settings, cluster: TestCluster, database: Database
) -> None:
    few = RealtimeSettings(max_connections=2, max_channels_per_person=2)
    tight = settings.model_copy(update={"realtime": few})
    async with running_server(tight, cluster.secrets, database) as system:
        her, other = await system.join(), await system.join()
        async with phone(system) as first, phone(system) as second:
            with pytest.raises(InvalidStatus) as refused:
                async with phone(system):
                    pass
            assert refused.value.response.status_code == 429
            await first.joined(her, topic="realtime:a")
            await second.joined(her, topic="realtime:b")
            status, told = await second.join(her, topic="realtime:c")
            assert (status, "live feeds" in told["reason"]) == ("error", True)
            await second.joined(other, topic="realtime:c")
            await first.ask("realtime:a", "phx_leave")
            assert (await first.event())[0] == "phx_close"
            await second.joined(her, topic="realtime:d")
        # Streams of server-sent events have a limit of their own.
        async with her.stream() as events:
            assert (await anext(events)).kind == "ready"
        # The places of a connection that has gone are free a moment later.
        async with asyncio.timeout(PATIENCE_S):
            while not await _joins(system, her):
                await asyncio.sleep(0)


async def test_topic_joined_again_replaces_the_first_channel(server: System) -> None:
    her = await server.join()
    own = await add_own_face(server.database, her.id)
    async with phone(server) as line:
        [first] = await line.joined(her)
        [second] = await line.joined(her)

        await add_matches(server.database, her.id, own)
        _, payload = await line.event()

        assert first != second
        assert payload["ids"] == [second]
        assert await line.is_quiet()


def _told(told: tuple[str, dict[str, Any]]) -> tuple[tuple[int, ...], set[str]]:
    _, payload = told
    return tuple(payload["ids"]), set(payload["data"]["record"])


async def _joins(system: System, person: Person) -> bool:
    try:
        async with phone(system) as line:
            return (await line.join(person))[0] == "ok"
    except InvalidStatus:
        return False
