"""`POST /functions/v1/match-generator`: the guide's answer, whoever does the work, and for whom."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import psycopg
import pytest
from PIL import ImageOps
from pydantic import SecretStr

from automatch.auth.tokens import Tokens
from automatch.errors.store import JobsUnfinishedError
from automatch.model.people import Role
from automatch.services.matching import match_generator
from automatch.settings import Settings
from automatch.settings.database import PoolSettings
from automatch.store.database import Database
from automatch.vision import Embedder
from tests.http.test_errors import check
from tests.support.build import connect, one
from tests.support.photos import astronaut, encode
from tests.support.postgres import TestCluster
from tests.support.system import System, running_server, running_worker
from tests.support.waiting import PATIENCE_S

pytestmark = pytest.mark.anyio

PATH = "/functions/v1/match-generator"
_NOTHING = {
    "success": True,
    "message": "No pending jobs",
    "processed": False,
    "matchCount": 0,
}


def key(system: System, role: Role = Role.SERVICE) -> str:
    return Tokens(system.secrets.jwt_secret, system.settings.auth).issue_key(role)


def bearer(key: str) -> dict[str, str]:
    return {"authorization": f"Bearer {key}"}


def trigger_key(system: System) -> str:
    """Make a key as the schedule has it, and read it as only the owner can."""
    with psycopg.connect(system.database.owner) as conn:
        conn.execute("select automatch.rotate_trigger_key()")
        return str(
            one(
                conn,
                "select decrypted_secret from vault.decrypted_secrets"
                " where name = 'automatch_trigger_key'",
            )
        )


class CountedWorker:
    """A worker that counts how often it is started, and does nothing but end the waiting for it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.starts = 0
        self._monkeypatch = monkeypatch

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        self.starts += 1
        self._monkeypatch.setattr(match_generator, "_ANSWER_WITHIN_S", 0.0)
        yield


async def two_uploads(system: System) -> None:
    for gender, photo in (("female", astronaut()), ("male", ImageOps.mirror(astronaut()))):
        person = await system.join(gender)
        assert (await person.upload(encode(photo))).status_code == 202


async def test_without_jobs_it_says_so_in_the_words_of_the_guide(server: System) -> None:
    answer = await server.client.post(
        PATH, headers=bearer(key(server)), json={"source": "manual_test"}
    )

    assert (answer.status_code, answer.json()) == (200, _NOTHING)


async def test_it_waits_for_the_workers_and_tells_what_they_found(
    server: System,
    settings: Settings,
    cluster: TestCluster,
    embedder: Embedder,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # The worker comes once the call has seen that jobs wait: they might be done before it, else.
    waiting = asyncio.Event()
    load_progress = match_generator.match_generator.load_progress

    async def noticed(*arguments: Any) -> Any:
        progress = await load_progress(*arguments)
        waiting.set()
        return progress

    monkeypatch.setattr(match_generator.match_generator, "load_progress", noticed)
    for patience in ("_WORKER_WAIT_S", "_ANSWER_WITHIN_S"):
        monkeypatch.setattr(match_generator, patience, PATIENCE_S)
    await two_uploads(server)

    calling = asyncio.create_task(
        server.client.post(PATH, headers=bearer(key(server)), timeout=PATIENCE_S)
    )
    await waiting.wait()
    async with running_worker(settings, cluster.secrets, embedder):
        answer = await calling

    reply = answer.json()
    # Found by one of the two jobs, or by each.
    assert reply.pop("matchCount") in {1, 2}
    assert reply == {
        "success": True,
        "message": "Matches generated successfully",
        "processed": True,
    }


@pytest.mark.usefixtures("nobody_connected")
async def test_without_a_worker_it_starts_one_and_stops_it(
    server: System, cluster: TestCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(match_generator, "_WORKER_WAIT_S", 0.0)
    monkeypatch.setattr(match_generator, "_ANSWER_WITHIN_S", PATIENCE_S)
    server.settings.home.mkdir(parents=True, exist_ok=True)
    server.settings.home.chmod(0o700)
    shutil.copy2(cluster.settings.home / "secrets.json", server.settings.home)
    await two_uploads(server)

    answers = await asyncio.gather(
        *(
            server.client.post(PATH, headers=bearer(key(server)), timeout=PATIENCE_S)
            for _ in range(2)
        )
    )

    assert all(answer.json()["processed"] for answer in answers)
    with connect(server.database.owner, autocommit=True) as conn:
        async with asyncio.timeout(PATIENCE_S):
            while one(
                conn, "select count(*) from pg_stat_activity where usename = 'automatch_worker'"
            ):
                await asyncio.sleep(0.05)
        assert one(conn, "select count(*) from match_jobs where status = 'completed'") == 2


async def test_job_of_a_worker_that_is_gone_is_not_overlooked(
    server: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(match_generator, "_ANSWER_WITHIN_S", 0.0)
    await two_uploads(server)
    with connect(server.database.owner) as conn:
        conn.execute("select public.claim_match_jobs(gen_random_uuid(), 5, '-1 second')")

    answer = await server.client.post(PATH, headers=bearer(key(server)))

    check(answer, 503, "jobs_unfinished")


async def test_job_that_a_living_worker_holds_is_left_to_it(
    server: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(match_generator, "_WORKER_WAIT_S", 0.0)
    monkeypatch.setattr(match_generator, "_ANSWER_WITHIN_S", 0.5)
    await two_uploads(server)
    worker = CountedWorker(monkeypatch)
    async with Database(server.database.api, PoolSettings(), name="test") as db:
        with connect(server.database.owner, autocommit=True) as conn:
            conn.execute("select public.claim_match_jobs(gen_random_uuid(), 1, '1 hour')")
            with pytest.raises(JobsUnfinishedError):
                await match_generator.drain_queue(db, worker)
            assert worker.starts == 0

            conn.execute(
                "update match_jobs set lease_expires_at = now() where worker_id is not null"
            )
            monkeypatch.setattr(match_generator, "_ANSWER_WITHIN_S", 60.0)
            with pytest.raises(JobsUnfinishedError):
                await match_generator.drain_queue(db, worker)
            assert worker.starts == 1


async def test_paused_queue_is_told_as_such(server: System) -> None:
    await two_uploads(server)
    with connect(server.database.owner) as conn:
        conn.execute("select public.pause_match_jobs()")

    answer = await server.client.post(PATH, headers=bearer(key(server)))

    check(answer, 503, "queue_paused")
    assert "automatch jobs resume" in answer.json()["error"]["message"]
    assert answer.headers["retry-after"]


async def test_anon_key_and_people_are_told_which_key_to_use(server: System) -> None:
    person = await server.sign_up()
    for headers in (bearer(key(server, Role.ANON)), person.headers):
        answer = await server.client.post(
            PATH, headers=headers | {"apikey": key(server, Role.ANON)}
        )

        check(answer, 403, "forbidden")
        assert "automatch token --role service_role" in answer.json()["error"]["message"]


async def test_service_key_may_stand_in_either_header(server: System) -> None:
    service, anon = key(server), key(server, Role.ANON)
    for headers in (
        bearer(service),
        {"apikey": service},
        {"apikey": anon, **bearer(service)},
        {"apikey": service, **bearer(anon)},
    ):
        assert (await server.client.post(PATH, headers=headers)).json() == _NOTHING


async def test_trigger_key_starts_matching_and_nothing_else(server: System) -> None:
    old = trigger_key(server)
    assert (await server.client.post(PATH, headers=bearer(old))).json() == _NOTHING

    for path in ("/api/admin/queue", "/api/profile", "/api/faces"):
        check(await server.client.get(path, headers=bearer(old)), 401, "token_invalid")

    new = trigger_key(server)
    check(await server.client.post(PATH, headers=bearer(old)), 401, "token_invalid")
    assert (await server.client.post(PATH, headers={"apikey": new})).json() == _NOTHING


@pytest.mark.parametrize("role", ["anon", "authenticated", "service_role", "automatch_worker"])
async def test_trigger_key_is_the_owners_to_read(server: System, role: str) -> None:
    trigger_key(server)
    with connect(server.database.owner) as conn:
        conn.execute(f"set role {role}")
        for query in (
            "select * from vault.decrypted_secrets",
            "select * from vault.secrets",
            "select * from automatch.trigger_key",
            "select * from net.http_request_queue",
            "select public.is_trigger_key('')",
            "select cron.schedule('* * * * *', 'select 1')",
            "select * from cron.job",
        ):
            with pytest.raises(psycopg.errors.InsufficientPrivilege), conn.transaction():
                conn.execute(query)


@pytest.mark.parametrize(("role", "may"), [("service_role", True), ("authenticated", False)])
def test_requests_are_sent_for_the_service_alone(
    conn: psycopg.Connection, role: str, may: bool
) -> None:
    conn.execute(f"set role {role}")
    try:
        if may:
            assert one(conn, "select net.http_post('http://127.0.0.1:9/')") >= 1
        else:
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                conn.execute("select net.http_post('http://127.0.0.1:9/')")
    finally:
        conn.rollback()


async def test_secret_key_of_a_project_is_taken_in_the_apikey_header(
    settings: Settings, cluster: TestCluster, database
) -> None:
    secret = "sb_secret_" + "x" * 31
    own = settings.model_copy(update={"secret_keys": SecretStr(secret)})
    async with running_server(own, cluster.secrets, database) as system:
        answer = await system.client.post(PATH, headers={"apikey": secret})
        assert answer.json() == _NOTHING
        check(await system.client.post(PATH, headers={"apikey": secret[:-1]}), 401, "token_invalid")


@pytest.mark.parametrize("sent", ["amt_" + "0" * 64, "x", "a.b.c"])
async def test_key_that_is_none_of_ours_is_refused(server: System, sent: str) -> None:
    check(await server.client.post(PATH, headers={"apikey": sent}), 401, "token_invalid")


async def test_browsers_may_ask_before_and_read_the_answer(server: System) -> None:
    asked = await server.client.options(
        PATH,
        headers={
            "origin": "https://app.example.org",
            "access-control-request-method": "POST",
            "access-control-request-headers": "authorization, apikey, content-type",
        },
    )
    refused = await server.client.post(PATH, headers={"origin": "https://app.example.org"})

    assert asked.status_code == 204
    allowed = asked.headers["access-control-allow-headers"].split(", ")
    assert {"authorization", "apikey", "content-type"} <= set(allowed)
    assert asked.headers["access-control-allow-methods"] == "POST"
    for answer in (asked, refused):
        assert answer.headers["access-control-allow-origin"] == "*"
        assert "access-control-allow-credentials" not in answer.headers
    other = await server.client.get("/readyz", headers={"origin": "https://app.example.org"})
    assert "access-control-allow-origin" not in other.headers
