"""The response that is a live feed: begun by its request, written to as long as it is open."""

from __future__ import annotations

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from automatch.feed import sse
from automatch.feed.stream import FeedStream

DETACH = "automatch.detach"
"""The extension of ASGI by which our server gives a begun response its connection, unless the
client has left, and the mark of a head after whose first part that happens."""


class EventStreamResponse(Response):
    """Begins the response of a stream, and lets go of the request.

    A request holds some fifty kilobytes, and a stream waits for hours.
    """

    media_type = "text/event-stream"

    def __init__(self, stream: FeedStream) -> None:
        super().__init__(None, headers=sse.HEADERS)
        del self.headers["content-length"]
        self._stream = stream

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the head and the first events."""
        del receive
        is_attached = False
        try:
            opening = (sse.OPENING + await self._stream.encode_opening()).encode()
            head = {"type": "http.response.start", "status": 200, "headers": self.raw_headers}
            await send(head | {DETACH: True})
            await send({"type": "http.response.body", "body": opening, "more_body": True})
            if (wire := scope["extensions"][DETACH]()) is not None:
                self._stream.attach(wire)
                is_attached = True
        finally:
            if not is_attached:
                self._stream.close()
