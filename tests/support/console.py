"""The console over HTTP: one server for all tests of a module, and operators who are signed in."""

from __future__ import annotations

import itertools
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from html import unescape
from typing import Any
from uuid import UUID

import httpx2
import psycopg
import pytest

from automatch.auth.tokens import Tokens
from automatch.model.operators import OperatorRole
from automatch.model.people import User
from automatch.settings import Settings
from automatch.settings.limits import LimitSettings
from automatch.settings.server import FeedSettings
from automatch.settings.storage import RetentionSettings
from automatch.settings.worker import WorkerSettings
from tests.support.build import connect, one
from tests.support.operators import Registry
from tests.support.postgres import DatabasePool, TestCluster
from tests.support.system import System, running_server

_serial = itertools.count(1)


@dataclass(frozen=True)
class Clerk:
    """Somebody who is signed in, and their browser: it follows no redirect."""

    id: UUID
    client: httpx2.AsyncClient

    async def get(self, path: str, **more: Any) -> httpx2.Response:
        return await self.client.get(path, **more)

    async def post(self, path: str, **form: str) -> httpx2.Response:
        return await self.client.post(path, data=form)


@dataclass
class ConsoleSite(Registry):
    """A running server, and the owner's connection to its database."""

    system: System
    conn: psycopg.Connection
    clients: list[httpx2.AsyncClient] = field(default_factory=list)

    def clerk(self, role: OperatorRole | None, *, has_entered_password: bool = True) -> Clerk:
        """Return somebody with a role, or with None somebody without, in front of a browser."""
        email = f"clerk{next(_serial)}@example.org"
        person_id = self.person(email, "Clerk")
        session_id = one(self.conn, "select auth.start_session(%s, %s)", person_id, person_id.bytes)
        self.conn.execute(
            "update auth.sessions set password_entered_at = %s where id = %s",
            [datetime.now(UTC) if has_entered_password else None, session_id],
        )
        if role is not None:
            self.conn.execute(
                "insert into automatch.operators (profile_id, role) values (%s, %s)",
                [person_id, role],
            )
        tokens = Tokens(self.system.secrets.jwt_secret, self.system.settings.auth)
        user = User(person_id, email, {}, {}, datetime.now(UTC), None)
        client = self.visitor()
        client.cookies.set("automatch_access", tokens.issue(user, session_id))
        return Clerk(person_id, client)

    def visitor(self) -> httpx2.AsyncClient:
        """Return the browser of somebody who is not signed in."""
        client = httpx2.AsyncClient(
            base_url=self.system.url,
            timeout=60,
            verify=False,
            headers={"accept": "text/html,*/*;q=0.8", "origin": self.system.url},
        )
        self.clients.append(client)
        return client

    def audited(self, clerk: Clerk) -> list[tuple[str, UUID | None, str | None]]:
        """Return act, object and reason of each entry of an operator in the audit log."""
        return self.conn.execute(
            "select action, object_id, reason from automatch.audit_log where actor = %s"
            " order by id",
            [f"operator:{clerk.id}"],
        ).fetchall()


def text_of(page: httpx2.Response) -> str:
    """Return what somebody reads on a page."""
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", page.text)).split())


@pytest.fixture(scope="module")
async def console(
    anyio_backend: str,
    cluster: TestCluster,
    database_pool: DatabasePool,
    tmp_path_factory: pytest.TempPathFactory,
) -> AsyncIterator[ConsoleSite]:
    """Give a running server, which all tests of a module share."""
    assert anyio_backend
    name = database_pool.take()
    database = cluster.address.named(name)
    settings = Settings(
        home=tmp_path_factory.mktemp("console") / "home",
        database_url=database.owner,
        worker=WorkerSettings(poll_s=600),
        feed=FeedSettings(poll_s=600),
        retention=RetentionSettings(min_free_mb=0),
        limits=LimitSettings(enabled=False),
    )
    with connect(database.owner, autocommit=True) as conn:
        async with running_server(settings, cluster.secrets, database) as system:
            site = ConsoleSite(system, conn)
            yield site
            for client in site.clients:
                await client.aclose()
    database_pool.give_back(name)
