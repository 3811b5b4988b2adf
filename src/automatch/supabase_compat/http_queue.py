"""The sender of the stand-in for pg_net: requests of `net.http_request_queue`, side by side.

A request is taken out of the queue before it is sent, so it is sent at most once. Redirects are not
followed: a request goes where the SQL says, and nowhere else.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

import httpx2
from psycopg.rows import class_row
from psycopg.types.json import Jsonb

from automatch.sql.statements import load
from automatch.store.database import Database

_SQL = load("net")
_SIDE_BY_SIDE = 50
_LOOK_S = 5.0
"""Between looks when no notification comes; one may be lost."""
_MAX_ANSWER_BYTES = 1024**2


@dataclass(frozen=True, slots=True)
class Request:
    """A row of `net.http_request_queue`."""

    id: int
    method: str
    url: str
    headers: dict[str, Any]
    body: bytes | None
    timeout_milliseconds: int


@dataclass(frozen=True, slots=True)
class Response:
    """A row of `net._http_response`."""

    status_code: int | None = None
    headers: dict[str, str] | None = None
    content: str | None = None
    timed_out: bool = False
    error_msg: str | None = None


class Net:
    """Sends what is queued and keeps the answers, until cancelled."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self._woken = asyncio.Event()
        self._underway: set[asyncio.Task[None]] = set()

    def wake(self) -> None:
        """Look into the queue: something was committed to it."""
        self._woken.set()

    async def run(self) -> None:
        """Send requests, again and again.

        Raises:
            StoreError: the database is away.
        """
        # Not by a proxy that happens to stand in the environment: most requests are for this host.
        async with (
            httpx2.AsyncClient(follow_redirects=False, trust_env=False) as client,
            asyncio.TaskGroup() as group,
        ):
            while True:
                self._woken.clear()
                free = _SIDE_BY_SIDE - len(self._underway)
                taken = await self._take(free) if free else []
                for request in taken:
                    task = group.create_task(self._send(client, request))
                    self._underway.add(task)
                    task.add_done_callback(self._sent)
                if len(taken) < free or not free:
                    await self._sleep()

    async def _take(self, limit: int) -> list[Request]:
        async with self._db.connection() as conn:
            cursor = conn.cursor(row_factory=class_row(Request))
            return await (await cursor.execute(_SQL["take_requests"], {"limit": limit})).fetchall()

    async def _send(self, client: httpx2.AsyncClient, request: Request) -> None:
        response = await ask(client, request)
        async with self._db.connection() as conn:
            await conn.execute(
                _SQL["record_response"],
                {
                    "id": request.id,
                    "status_code": response.status_code,
                    "content_type": (response.headers or {}).get("content-type"),
                    "headers": None if response.headers is None else Jsonb(response.headers),
                    # Text of Postgres holds no NUL.
                    "content": response.content and response.content.replace("\0", ""),
                    "timed_out": response.timed_out,
                    "error_msg": response.error_msg,
                },
            )

    def _sent(self, task: asyncio.Task[None]) -> None:
        self._underway.discard(task)
        self.wake()

    async def _sleep(self) -> None:
        try:
            async with asyncio.timeout(_LOOK_S):
                await self._woken.wait()
        except TimeoutError:
            return


async def ask(client: httpx2.AsyncClient, request: Request) -> Response:
    """Send one request; trouble on the way is an answer too."""
    try:
        async with (
            asyncio.timeout(request.timeout_milliseconds / 1000),
            client.stream(
                request.method,
                request.url,
                headers={name: str(value) for name, value in request.headers.items()},
                content=request.body,
                timeout=None,
            ) as answer,
        ):
            content = b""
            async for piece in answer.aiter_bytes():
                content += piece
                if len(content) > _MAX_ANSWER_BYTES:
                    return Response(error_msg="The answer is larger than 1 MiB")
            return Response(
                status_code=answer.status_code,
                headers=dict(answer.headers),
                content=content.decode(answer.encoding or "utf-8", errors="replace"),
            )
    except TimeoutError:
        return Response(
            timed_out=True,
            error_msg=f"Timeout of {request.timeout_milliseconds} ms reached",
        )
    except httpx2.ConnectError:
        return Response(error_msg="Could not connect to server")
    except (httpx2.HTTPError, httpx2.InvalidURL, ValueError, LookupError) as exc:
        return Response(error_msg=f"{type(exc).__name__}: {exc}"[:500])
