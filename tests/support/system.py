"""The whole system on a real socket: server and worker, on a database of the test's own."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, replace
from datetime import date
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import httpx2
import pytest
from argon2 import PasswordHasher
from fastapi import FastAPI

from automatch.app import create_app
from automatch.auth.tokens import Tokens
from automatch.cli.runtime.serving.http_server import HttpServer
from automatch.cli.runtime.serving.sockets import open_socket
from automatch.cli.runtime.start_checks import check_photos
from automatch.model.people import Claims, Gender
from automatch.postgres.addresses import database_address
from automatch.settings import Settings
from automatch.settings.database import PoolSettings
from automatch.settings.limits import LimitSettings
from automatch.settings.secrets import Secrets
from automatch.settings.server import FeedSettings
from automatch.settings.storage import RetentionSettings
from automatch.settings.worker import WorkerSettings
from automatch.store import database as store
from automatch.store.accounts.accounts import (
    create_user,
    hash_token,
    load_session_user,
    start_session,
)
from automatch.store.people import profiles
from automatch.vision import DlibEmbedder, Embedder
from automatch.worker.worker import Worker
from automatch.worker_app import open_worker
from tests.support.analysis import RememberingAnalyzer
from tests.support.declared import check_declared_errors
from tests.support.kept_pools import KeptDatabase
from tests.support.postgres import Database, TestCluster
from tests.support.waiting import PATIENCE_S

PASSWORD = "correct horse battery"
_QUICK_HASHER = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
_QUICK_HASH = _QUICK_HASHER.hash(PASSWORD)
_serial = itertools.count(1)


@dataclass(frozen=True)
class Event:
    """One server-sent event."""

    kind: str
    data: dict[str, Any]
    id: str | None


class StreamRefusedError(AssertionError):
    """A live feed did not open."""

    def __init__(self, status: int, body: bytes) -> None:
        super().__init__(status, body)
        self.status = status


@dataclass(frozen=True)
class Person:
    """Someone with an account, and how they ask."""

    id: str
    email: str
    token: str
    client: httpx2.AsyncClient

    @property
    def headers(self) -> dict[str, str]:
        return {"authorization": f"Bearer {self.token}"}

    async def get(self, path: str, **more: Any) -> httpx2.Response:
        return await self.client.get(path, headers=self.headers, **more)

    async def upload(self, photo: bytes, name: str = "photo.jpg") -> httpx2.Response:
        return await self.client.post(
            "/api/faces", headers=self.headers, files={"file": (name, photo)}
        )

    async def matched(self, photo: bytes) -> dict[str, Any]:
        """Upload a photo and return its job once that has ended."""
        answer = await self.upload(photo)
        assert answer.status_code == 202, answer.text
        return await self.ended(answer.json()["job"]["id"])

    async def ended(self, job_id: str) -> dict[str, Any]:
        """Return a job once it has ended, as the stream tells it."""
        async with self.stream() as events:
            async for event in events:
                if event.kind == "job" and event.data["id"] == job_id:
                    job = event.data
                    if job["status"] in {"completed", "failed"}:
                        return job
        raise AssertionError("the stream ended before the job did")

    async def feed(self) -> list[dict[str, Any]]:
        answer = await self.get("/api/matches", params={"limit": 100})
        assert answer.status_code == 200, answer.text
        return list(answer.json()["matches"])

    @asynccontextmanager
    async def stream(
        self, *, after: int | None = None, last_event_id: str | None = None
    ) -> AsyncIterator[AsyncIterator[Event]]:
        """Open the live feed."""
        headers = self.headers
        if last_event_id is not None:
            headers["last-event-id"] = last_event_id
        params = {} if after is None else {"after": after}
        async with self.client.stream(
            "GET", "/api/matches/stream", headers=headers, params=params
        ) as answer:
            if answer.status_code != 200:
                raise StreamRefusedError(answer.status_code, await answer.aread())
            yield _events(answer)


async def _events(answer: httpx2.Response) -> AsyncIterator[Event]:
    fields: dict[str, str] = {}
    async for line in answer.aiter_lines():
        if line:
            name, _, value = line.partition(": ")
            fields[name] = value
        elif "event" in fields:
            yield Event(fields["event"], json.loads(fields["data"]), fields.get("id"))
            fields = {}
        else:
            fields = {}


@dataclass(frozen=True)
class System:
    """A server that answers at `url`, and the parts it is made of."""

    url: str
    settings: Settings
    secrets: Secrets
    database: Database
    client: httpx2.AsyncClient

    @asynccontextmanager
    async def _as_owner(self) -> AsyncIterator[store.Connection]:
        pool = KeptDatabase(self.database.owner, PoolSettings(), name="tests")
        async with pool, pool.transaction() as conn:
            yield conn

    async def sign_up(self, email: str | None = None) -> Person:
        """Create an account and nothing more, and sign in.

        Past `/auth/v1/signup`, which hashes the password as slowly as it should be.
        """
        email = email or f"person{next(_serial)}@example.org"
        async with self._as_owner() as conn:
            await create_user(conn, email=email, encrypted_password=_QUICK_HASH, data={})
        return await self.sign_in(email)

    async def sign_in(self, email: str) -> Person:
        """Sign in somebody who has an account."""
        answer = await self.client.post(
            "/auth/v1/token",
            params={"grant_type": "password"},
            json={"email": email, "password": PASSWORD},
        )
        assert answer.status_code == 200, answer.text
        told = answer.json()
        return Person(told["user"]["id"], email, told["access_token"], self.client)

    async def open_school(self, name: str) -> None:
        """Put a school on the list, for which nobody needs a proof."""
        if name != "UIT":
            async with self._as_owner() as conn:
                await conn.execute(
                    "insert into automatch.schools (name, is_open) values (%s, true)"
                    " on conflict do nothing",
                    [name],
                )

    async def join(
        self,
        gender: str = "female",
        *,
        school: str = "UIT",
        name: str | None = None,
        birth_date: str = "2000-02-29",
        consent: bool = True,
    ) -> Person:
        """Create an account with a profile and, unless told not to, a consent; sign in.

        By what requests call in the end, which takes a quarter of the time of the requests.
        """
        email = f"person{next(_serial)}@example.org"
        await self.open_school(school)
        async with self._as_owner() as conn:
            person_id = await create_user(
                conn, email=email, encrypted_password=_QUICK_HASH, data={}
            )
            session_id = await start_session(conn, person_id, hash_token(email))
            user = await load_session_user(conn, session_id)
            assert user is not None
            token = Tokens(self.secrets.jwt_secret, self.settings.auth).issue(user, session_id)
            claims = {"sub": str(person_id), "session_id": str(session_id), "role": "authenticated"}
            await conn.execute(
                "select set_config('request.jwt.claims', %s, true), set_config('role', %s, true)",
                [json.dumps(claims), claims["role"]],
            )
            await profiles.save_profile(
                conn,
                name=name or f"Person of {school}",
                school=school,
                gender=Gender(gender),
                birth_date=date.fromisoformat(birth_date),
            )
            if consent:
                text = await profiles.load_consent(conn)
                await profiles.record_consent(conn, granted=True, version=text.version)
        return Person(str(person_id), email, token, self.client)

    async def fill_in(
        self,
        person: Person,
        gender: str = "female",
        *,
        school: str = "UIT",
        name: str | None = None,
        birth_date: str = "2000-02-29",
        consent: bool = True,
    ) -> Person:
        """Fill in the profile of an account and (unless told not to) consent."""
        await self.open_school(school)
        profile = {
            "name": name or f"Person of {school}",
            "school": school,
            "gender": gender,
            "birth_date": birth_date,
        }
        answer = await self.client.put("/api/profile", headers=person.headers, json=profile)
        assert answer.status_code == 200, answer.text
        if consent:
            text = (await person.get("/api/profile/consent")).json()
            answer = await self.client.put(
                "/api/profile/consent",
                headers=person.headers,
                json={"version": text["version"], "granted": True},
            )
            assert answer.status_code == 200, answer.text
        return person


@pytest.fixture(scope="session")
def embedder() -> Embedder:
    """Give dlib's model, loaded once per test process."""
    return DlibEmbedder()


@pytest.fixture
def settings(database: Database, tmp_path: Path) -> Settings:
    """Give settings for the test's own database, with polls too slow to hide a lost wake-up."""
    return Settings(
        home=tmp_path / "home",
        database_url=database.owner,
        worker=WorkerSettings(poll_s=600),
        feed=FeedSettings(poll_s=600),
        retention=RetentionSettings(min_free_mb=0),
        # All people of the tests come from one address.
        limits=LimitSettings(enabled=False),
    )


@pytest.fixture
async def server(
    settings: Settings, cluster: TestCluster, database: Database
) -> AsyncIterator[System]:
    """Give a running server without a worker."""
    async with running_server(settings, cluster.secrets, database) as system:
        yield system


@pytest.fixture
async def system(
    server: System, settings: Settings, cluster: TestCluster, embedder: Embedder
) -> AsyncIterator[System]:
    """Give a running server with one worker."""
    async with running_worker(settings, cluster.secrets, embedder):
        yield server


@asynccontextmanager
async def running_server(
    settings: Settings, secrets: Secrets, database: Database, embedder: Embedder | None = None
) -> AsyncIterator[System]:
    """Serve on a free port until left, with passwords that are hashed quickly."""
    with (
        patch("automatch.services.accounts.password_queue.PasswordHasher", lambda: _QUICK_HASHER),
        patch("automatch.app.Database", KeptDatabase),
    ):
        app = create_app(settings, secrets, embedder=embedder)
    if settings.replica_url is None:
        services = app.state.services
        app.state.services = replace(services, reads=_ReadOnly(services.db))
    async with (
        served(app, settings) as url,
        # To read the certificates takes longer than to start; nothing is asked over TLS.
        httpx2.AsyncClient(
            base_url=url,
            timeout=PATIENCE_S,
            verify=False,
            event_hooks={"response": [check_declared_errors(app)]},
        ) as client,
    ):
        try:
            yield System(url, settings, secrets, database, client)
        finally:
            app.state.services.live.notifier.close()


class _ReadOnly:
    """What may come from a replica, where nobody can write."""

    def __init__(self, db: store.Database) -> None:
        self._db = db

    @asynccontextmanager
    async def as_user(self, claims: Claims) -> AsyncIterator[store.Connection]:
        async with self._db.as_user(claims) as conn:
            await conn.execute("set transaction read only")
            yield conn


@asynccontextmanager
async def served(
    app: FastAPI, settings: Settings, port: int = 0, max_connections: int | None = None
) -> AsyncIterator[str]:
    """Serve an application until left; give its address."""
    started = asyncio.Event()
    # The client is the one to close a connection that it has not used for a while: it may be about
    # to use one that the server closes, and would get no answer.
    with patch("automatch.cli.runtime.serving.http_server._IDLE_S", PATIENCE_S):
        server = HttpServer(app, settings, on_started=started.set, max_connections=max_connections)
    with open_socket(settings, port=port) as listening, _looking_often():
        serving = asyncio.create_task(server.serve([listening]))
        await _first(started.wait, serving)
        try:
            yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        finally:
            # A server that outlives a failed test makes the next ones fail.
            server.should_exit = True
            await serving


@contextmanager
def _looking_often() -> Iterator[None]:
    """Have uvicorn look every few milliseconds whether to stop, and not every tenth of a second."""
    quick = SimpleNamespace(**vars(asyncio))
    quick.sleep = lambda seconds: asyncio.sleep(seconds / 10)
    with patch("uvicorn.server.asyncio", quick):
        yield


@asynccontextmanager
async def running_worker(
    settings: Settings, secrets: Secrets, embedder: Embedder
) -> AsyncIterator[Worker]:
    """Run a worker until left."""
    # As a server does when it starts.
    await check_photos(settings, database_address(settings, secrets, "owner"))
    async with AsyncExitStack() as stack:
        with (
            patch("automatch.worker_app.LocalAnalyzer", RememberingAnalyzer),
            patch("automatch.worker_app.Database", KeptDatabase),
        ):
            worker = await stack.enter_async_context(open_worker(settings, secrets, embedder))
        working = asyncio.create_task(worker.run())
        try:
            yield worker
        finally:
            worker.stop()
            await working


async def _first(wait: Callable[[], Any], task: asyncio.Task[None]) -> None:
    waiting = asyncio.create_task(partial(wait)())
    await asyncio.wait({waiting, task}, return_when=asyncio.FIRST_COMPLETED)
    if task.done():
        waiting.cancel()
        await task
