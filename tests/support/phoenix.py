"""Phoenix channels by hand, for messages that no supabase client sends."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from automatch.auth.tokens import Tokens
from automatch.model.people import Role
from tests.support.system import Person, System
from tests.support.waiting import PATIENCE_S

INSERTS = {"event": "INSERT", "schema": "public", "table": "matches"}


def anon_key(system: System) -> str:
    """Return the public key of a system."""
    return Tokens(system.secrets.jwt_secret, system.settings.auth).issue_key(Role.ANON)


def address(system: System, **query: str) -> str:
    """Return where a client connects; *query* replaces the key and the version."""
    told = {"apikey": anon_key(system), "vsn": "1.0.0"} | query
    words = "&".join(f"{name}={value}" for name, value in told.items())
    return f"{system.url.replace('http', 'ws')}/realtime/v1/websocket?{words}"


@dataclass
class Phone:
    """One connection. Messages are read as (event, payload), whatever the version."""

    connection: ClientConnection
    version: str = "1.0.0"
    _refs: itertools.count[int] = field(default_factory=lambda: itertools.count(1))

    async def send(
        self,
        topic: str,
        event: str,
        payload: dict[str, Any] | None = None,
        *,
        join_ref: str | None = None,
    ) -> str:
        """Send a message; return its ref."""
        ref = str(next(self._refs))
        told = {
            "join_ref": join_ref or (ref if event == "phx_join" else None),
            "ref": ref,
            "topic": topic,
            "event": event,
            "payload": payload or {},
        }
        text = json.dumps(told if self.version == "1.0.0" else list(told.values()))
        await self.connection.send(text)
        return ref

    async def receive(self) -> dict[str, Any]:
        """Return the next message, in the names of version 1.0.0."""
        async with asyncio.timeout(PATIENCE_S):
            told = json.loads(await self.connection.recv())
        if self.version == "2.0.0":
            names = ("join_ref", "ref", "topic", "event", "payload")
            told = dict(zip(names, told, strict=True))
        return dict(told)

    async def event(self) -> tuple[str, dict[str, Any]]:
        """Return the next message as its event and payload."""
        told = await self.receive()
        return told["event"], told["payload"]

    async def ask(
        self, topic: str, event: str, payload: dict[str, Any] | None = None
    ) -> tuple[str, dict[str, Any]]:
        """Send a message and return the reply: its status and response."""
        ref = await self.send(topic, event, payload)
        told = await self.receive()
        assert (told["event"], told["ref"], told["topic"]) == ("phx_reply", ref, topic), told
        return told["payload"]["status"], told["payload"]["response"]

    async def join(
        self, who: Person | str | None, *asked: dict[str, Any], topic: str = "realtime:x"
    ) -> tuple[str, dict[str, Any]]:
        """Ask to join a channel."""
        payload: dict[str, Any] = {"config": {"postgres_changes": list(asked or [INSERTS])}}
        token = who.token if isinstance(who, Person) else who
        return await self.ask(
            topic, "phx_join", payload | ({"access_token": token} if token else {})
        )

    async def joined(
        self, who: Person, *asked: dict[str, Any], topic: str = "realtime:x"
    ) -> list[int]:
        """Join a channel and wait until it tells changes; return the ids."""
        status, response = await self.join(who, *asked, topic=topic)
        assert status == "ok", response
        event, payload = await self.event()
        assert (event, payload["status"]) == ("system", "ok"), payload
        return [each["id"] for each in response["postgres_changes"]]

    async def records(self, count: int) -> list[dict[str, Any]]:
        """Return the records of the next changes."""
        records = []
        while len(records) < count:
            event, payload = await self.event()
            assert event == "postgres_changes", (event, payload)
            records.append(payload["data"]["record"])
        return records

    async def is_quiet(self) -> bool:
        """Tell whether nothing comes before the answer to a heartbeat."""
        status, _ = await self.ask("phoenix", "heartbeat")
        return status == "ok"

    async def closed(self) -> tuple[int, str]:
        """Wait until the server closes; return its code and reason."""
        async with asyncio.timeout(PATIENCE_S):
            with contextlib.suppress(ConnectionClosed):
                while True:
                    await self.connection.recv()
        return self.connection.close_code or 0, self.connection.close_reason or ""


@asynccontextmanager
async def phone(
    system: System,
    version: str = "1.0.0",
    *,
    headers: dict[str, str] | None = None,
    **query: str,
) -> AsyncIterator[Phone]:
    """Connect."""
    uri = address(system, vsn=version, **query)
    async with connect(
        uri, compression=None, additional_headers=headers, open_timeout=PATIENCE_S
    ) as connection:
        yield Phone(connection, version)
