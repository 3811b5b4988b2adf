"""The body of a request, counted and timed while it is read, with a lingering close.

When a server answers early and closes the connection at once, the client's system may drop the
answer that it has not read yet: a client that sends a photo that is too large would see a broken
connection and no reason. So the whole answer is sent, then what still arrives is read and dropped
for a moment, and only then the connection is closed.
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
    """The body of one request."""

    def __init__(self, scope: Scope, receive: Receive, *, max_bytes: int, timeout_s: float) -> None:
        headers = Headers(scope=scope)
        length = headers.get("content-length", "")
        self._receive = receive
        self._max_bytes = max_bytes
        self._deadline = time.monotonic() + timeout_s
        self._received = 0
        self._ended = False
        self._announced = "transfer-encoding" in headers or length not in {"", "0"}
        # A client that sends `Expect` sends nothing more before it is asked to.
        self._is_silent = "expect" in headers
        self.is_too_large = length.isascii() and length.isdigit() and int(length) > max_bytes
        """Whether the announced length alone exceeds the limit."""

    @property
    def is_pending(self) -> bool:
        """Whether more of the body is still to come."""
        return self._announced and not self._ended

    async def receive(self) -> Message:
        """Return the next ASGI message of the client.

        Raises:
            BodyTooLargeError: more bytes were announced or received than allowed.
            BodyTimeoutError: the body did not arrive in time.
        """
        if self._ended:
            # The body is complete: the next message is a disconnect, and may take any time.
            return await self._receive()
        if self.is_too_large:
            raise BodyTooLargeError
        try:
            async with asyncio.timeout(max(self._deadline - time.monotonic(), 0)):
                message = await self._next()
        except TimeoutError as exc:
            self._is_silent = True
            raise BodyTimeoutError from exc
        if self._received > self._max_bytes:
            raise BodyTooLargeError
        return message

    async def end_after(self, message: Message, send: Send) -> None:
        """Send the last part of the answer, then drop what still arrives for a moment."""
        await send({**message, "more_body": True})
        await self._discard()
        await send({"type": "http.response.body"})

    async def _discard(self) -> None:
        limit = self._received + _LINGER_BYTES
        try:
            async with asyncio.timeout(_LINGER_S):
                while self.is_pending and not self._is_silent and self._received < limit:
                    await self._next()
        except TimeoutError:
            return

    async def _next(self) -> Message:
        message = await self._receive()
        self._is_silent = False
        self._received += len(message.get("body", b""))
        self._ended = not message.get("more_body", False)
        return message
