"""The body of a request, counted and timed while it is read, with a lingering close.

A body may take any time as long as it moves: only one that stands still, or crawls, is ended.

When a server answers early and closes the connection at once, the client's system may drop the
answer that it has not read yet: a client that sends a photo that is too large would see a broken
connection and no reason. So the whole answer is sent, then what still arrives is read and dropped
for a moment, and only then the connection is closed.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from starlette.datastructures import Headers
from starlette.types import Message, Receive, Scope, Send

from automatch.errors.upload import BodyTimeoutError, BodyTooLargeError
from automatch.settings.server import UploadSettings

_RATE_WINDOW_S = 30.0
_LINGER_S = 2.0
_LINGER_BYTES = 64 * 1024**2


class LimitedBody:
    """The body of one request."""

    def __init__(
        self,
        scope: Scope,
        receive: Receive,
        settings: UploadSettings,
        *,
        max_bytes: int,
        reserve: Callable[[int], Callable[[], None]] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Read nothing yet.

        Args:
            scope: of the request.
            receive: returns the next message of the client.
            settings: how slowly the body may arrive.
            max_bytes: largest body.
            reserve: called with the size of the body before it is read, may refuse it by an error,
                and returns what gives the memory back.
            clock: seconds that only increase.
        """
        headers = Headers(scope=scope)
        length = headers.get("content-length", "")
        size = int(length) if length.isascii() and length.isdigit() else None
        self._receive = receive
        self._settings = settings
        self._max_bytes = max_bytes
        self._reserve = reserve
        self._release: Callable[[], None] | None = None
        self._clock = clock
        self._window_start: float | None = None
        self._received_before_window = 0
        self._received = 0
        self._ended = False
        self._announced = "transfer-encoding" in headers or length not in {"", "0"}
        self._size = max_bytes if size is None or "transfer-encoding" in headers else size
        # A client that sends `Expect` sends nothing more before it is asked to.
        self._is_silent = "expect" in headers
        self.is_too_large = size is not None and size > max_bytes
        """Whether the announced length alone exceeds the limit."""

    @property
    def is_pending(self) -> bool:
        """Whether more of the body is still to come."""
        return self._announced and not self._ended

    async def receive(self) -> Message:
        """Return the next ASGI message of the client.

        Raises:
            BodyTooLargeError: more bytes were announced or received than allowed.
            BodyTimeoutError: the body stands still or crawls.
            UploadError: there is no memory for it at the moment.
        """
        if self._ended:
            # The body is complete: the next message is a disconnect, and may take any time.
            return await self._receive()
        if self.is_too_large:
            raise BodyTooLargeError
        if self._window_start is None:
            self._window_start = self._clock()
            if self._reserve is not None and self._announced:
                self._release = self._reserve(self._size)
        try:
            async with asyncio.timeout(self._settings.stall_timeout_s):
                message = await self._next()
        except TimeoutError as exc:
            self._is_silent = True
            raise BodyTimeoutError from exc
        if self._received > self._max_bytes:
            raise BodyTooLargeError
        if not self._ended:
            self._check_rate(self._window_start)
        return message

    def release(self) -> None:
        """Give back the memory, once the request is answered or broken off."""
        if self._release is not None:
            self._release()
            self._release = None

    def _check_rate(self, start: float) -> None:
        now = self._clock()
        if now - start < _RATE_WINDOW_S:
            return
        received = self._received - self._received_before_window
        if received < self._settings.min_bytes_per_s * (now - start):
            raise BodyTimeoutError
        self._window_start, self._received_before_window = now, self._received

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
