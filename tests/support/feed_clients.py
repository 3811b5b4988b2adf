"""People who upload and follow their feeds at servers of which some may be away."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field, replace
from typing import Protocol
from uuid import UUID

import httpx2

from tests.support.system import Person, StreamRefusedError


class Servers(Protocol):
    """Servers that are asked one after the other, as through a proxy."""

    def next_client(self) -> httpx2.AsyncClient:
        """Return a client of the next one."""


async def accepted(servers: Servers, person: Person, photo: bytes, refused: list[object]) -> UUID:
    """Upload until it is accepted, as docs/errors.md says; return the job."""
    while True:
        try:
            answer = await replace(person, client=servers.next_client()).upload(photo)
        except httpx2.TransportError as exc:
            refused.append(type(exc))
        else:
            if answer.status_code in {200, 202}:
                return UUID(answer.json()["job"]["id"])
            refused.append(answer.status_code)
        await asyncio.sleep(0.05)


@dataclass
class Feed:
    """The live feed of one person, through as many connections as it takes."""

    person: Person
    connections: int = 0
    matches: list[str] = field(default_factory=list)

    async def follow(self, servers: Servers) -> None:
        last: str | None = None
        while True:
            person = replace(self.person, client=servers.next_client())
            try:
                async with person.stream(
                    after=0 if last is None else None, last_event_id=last
                ) as events:
                    self.connections += 1
                    async for event in events:
                        last = event.id or last
                        if event.kind == "match":
                            self.matches.append(event.data["id"])
            except httpx2.TransportError:
                await asyncio.sleep(0.05)
            except StreamRefusedError as exc:
                # A server without its database says so, and the stream is opened again later.
                if exc.status != 503:
                    raise
                await asyncio.sleep(0.05)
