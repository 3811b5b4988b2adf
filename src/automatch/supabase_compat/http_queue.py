"""Sending the requests of `net.http_request_queue`, where pg_net is not installed.

A request is removed from the queue before it is sent, so it is sent at most once. Redirects are not
followed: a request goes only to the URL that the SQL gives.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

import httpx2
import psycopg
from psycopg.rows import class_row
from psycopg.types.json import Jsonb

from automatch.settings.server_address import LEADING_SERVER
from automatch.sql.statements import load
from automatch.store.database import Database

_SQL = load("net")
_MAX_CONCURRENT = 50
_POLL_S = 5.0
"""Between two polls; a notification may be lost."""
_MAX_RESPONSE_BYTES = 1024**2


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


class HttpSender:
    """Sends queued requests and stores the responses, until cancelled.

    Args:
        db: with the login of the schedule.
        local_url: address of this server on its own machine.
        origins: where requests may be sent to, as `http://host:port`; None is anywhere.
    """

    def __init__(self, db: Database, local_url: str, origins: Iterable[str] | None = None) -> None:
        self._db = db
        self._local_url = local_url
        self._origins = None if origins is None else {_origin(url) for url in origins}
        self._woken = asyncio.Event()
        self._sending: set[asyncio.Task[None]] = set()

    def wake(self) -> None:
        """Read the queue: a request was committed to it."""
        self._woken.set()

    async def run(self) -> None:
        """Send requests until cancelled.

        Raises:
            StoreError: the database does not response.
        """
        # Without a proxy from the environment: most requests are for this host.
        async with (
            httpx2.AsyncClient(follow_redirects=False, trust_env=False) as client,
            asyncio.TaskGroup() as group,
        ):
            while True:
                self._woken.clear()
                free = _MAX_CONCURRENT - len(self._sending)
                taken = await self._take(free) if free else []
                for request in taken:
                    task = group.create_task(self._send(client, request))
                    self._sending.add(task)
                    task.add_done_callback(self._sent)
                if len(taken) < free or not free:
                    await self._sleep()

    async def _take(self, limit: int) -> list[Request]:
        async with self._db.connection() as conn:
            cursor = conn.cursor(row_factory=class_row(Request))
            return await (await cursor.execute(_SQL["take_requests"], {"limit": limit})).fetchall()

    async def _send(self, client: httpx2.AsyncClient, request: Request) -> None:
        if request.url.startswith(f"{LEADING_SERVER}/"):
            url = self._local_url + request.url.removeprefix(LEADING_SERVER)
            response = await send_request(client, replace(request, url=url))
        else:
            response = self._refuse(request) or await send_request(client, request)
        try:
            await self._record(request, response)
        except (psycopg.Error, UnicodeError) as exc:
            error = f"The answer cannot be stored: {type(exc).__name__}"
            await self._record(request, Response(response.status_code, error_msg=error))

    async def _record(self, request: Request, response: Response) -> None:
        async with self._db.connection() as conn:
            await conn.execute(
                _SQL["record_response"],
                {
                    "id": request.id,
                    "status_code": response.status_code,
                    "content_type": (response.headers or {}).get("content-type"),
                    "headers": None if response.headers is None else Jsonb(response.headers),
                    # Postgres text cannot hold NUL, nor half of a pair of UTF-16.
                    "content": response.content
                    and response.content.replace("\0", "").encode(errors="replace").decode(),
                    "timed_out": response.timed_out,
                    "error_msg": response.error_msg,
                },
            )

    def _refuse(self, request: Request) -> Response | None:
        with suppress(httpx2.InvalidURL):
            if self._origins is None or _origin(request.url) in self._origins:
                return None
        return Response(error_msg="The address is none that AUTOMATCH_NET_ORIGINS allows")

    def _sent(self, task: asyncio.Task[None]) -> None:
        self._sending.discard(task)
        self.wake()

    async def _sleep(self) -> None:
        try:
            async with asyncio.timeout(_POLL_S):
                await self._woken.wait()
        except TimeoutError:
            return


def _origin(url: str) -> tuple[str, str, int]:
    # As the client reads the address: two parsers may take different parts of it for the host.
    parts = httpx2.URL(url)
    return parts.scheme, parts.host, parts.port or (443 if parts.scheme == "https" else 80)


async def send_request(client: httpx2.AsyncClient, request: Request) -> Response:
    """Send one request; return errors as a response too."""
    try:
        async with (
            asyncio.timeout(request.timeout_milliseconds / 1000),
            client.stream(
                request.method,
                request.url,
                headers={name: str(value) for name, value in request.headers.items()},
                content=request.body,
                timeout=None,
            ) as response,
        ):
            content = b""
            async for chunk in response.aiter_bytes():
                content += chunk
                if len(content) > _MAX_RESPONSE_BYTES:
                    return Response(error_msg="The answer is larger than 1 MiB")
            return Response(
                status_code=response.status_code,
                headers=dict(response.headers),
                content=content.decode(response.encoding or "utf-8", errors="replace"),
            )
    except TimeoutError:
        return Response(
            timed_out=True,
            error_msg=f"Timeout of {request.timeout_milliseconds} ms reached",
        )
    except httpx2.ConnectError:
        return Response(error_msg="Could not connect to server")
    except Exception as exc:
        return Response(error_msg=f"{type(exc).__name__}: {exc}"[:500])
