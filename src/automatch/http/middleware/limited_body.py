"""The body of a request while it is read: counted and timed, and what nobody wants thrown away.

A server that answers early and closes at once makes the client's system drop the answer that it
has not read yet: whoever sends a photo that is too large would see a broken connection and no
reason. So the answer goes out whole, then what still arrives is read for a moment, and only then
the connection ends.
"""

from __future__ import annotations

import asyncio
import time

from starlette.datastructures import Headers
from starlette.types import Message, Receive, Scope, Send

from automatch.errors.upload import BodyTimeoutError, BodyTooLargeError

_LINGER_S = 2.0
_LINGER_BYTES = 64 * 1024**2


class LimitedBody:
    """What one request sends after its headers."""

    def __init__(self, scope: Scope, receive: Receive, *, most: int, timeout_s: float) -> None:
        headers = Headers(scope=scope)
        length = headers.get("content-length", "")
        self._receive = receive
        self._most = most
        self._deadline = time.monotonic() + timeout_s
        self._seen = 0
        self._ended = False
        self._announced = "transfer-encoding" in headers or length not in {"", "0"}
        # Such a client sends nothing before it is asked to.
        self._is_silent = "expect" in headers
        self.is_too_large = length.isascii() and length.isdigit() and int(length) > most
        """Whether the headers alone say so."""

    @property
    def is_pending(self) -> bool:
        """Whether more of it is still to come."""
        return self._announced and not self._ended

    async def receive(self) -> Message:
        """Give the next message of the client, as ASGI asks for.

        Raises:
            BodyTooLargeError: more than allowed has been announced or has come.
            BodyTimeoutError: it has taken too long.
        """
        if self._ended:
            # The body is complete: what comes now is a disconnect, however late.
            return await self._receive()
        if self.is_too_large:
            raise BodyTooLargeError
        try:
            async with asyncio.timeout(max(self._deadline - time.monotonic(), 0)):
                message = await self._next()
        except TimeoutError as exc:
            self._is_silent = True
            raise BodyTimeoutError from exc
        if self._seen > self._most:
            raise BodyTooLargeError
        return message

    async def end_after(self, message: Message, send: Send) -> None:
        """Send the last part of the answer so that it arrives, whatever is still to come."""
        await send({**message, "more_body": True})
        await self._discard()
        await send({"type": "http.response.body"})

    async def _discard(self) -> None:
        most = self._seen + _LINGER_BYTES
        try:
            async with asyncio.timeout(_LINGER_S):
                while self.is_pending and not self._is_silent and self._seen < most:
                    await self._next()
        except TimeoutError:
            return

    async def _next(self) -> Message:
        message = await self._receive()
        self._is_silent = False
        self._seen += len(message.get("body", b""))
        self._ended = not message.get("more_body", False)
        return message
