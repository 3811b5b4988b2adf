"""People who upload and people who watch, over HTTP, with the time that each of them waits."""

from __future__ import annotations

import asyncio
import contextlib
import io
import itertools
import json
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Self
from urllib.parse import urlsplit

import httpx2
from PIL import Image, ImageOps

from automatch.demo.portraits import read_portrait
from automatch.model.people import Gender
from automatch.ops.bench.people import Person

SIDE = 1600
"""Pixels of a photo's side: what pages send of a larger one."""
_QUALITY = 92
_FEEDS_PER_ADDRESS = 200
"""A server gives one address only a part of its connections; this machine has many addresses."""
_TIMEOUT_S = 30


def make_photos(number: int) -> tuple[bytes, bytes]:
    """Return two photos of one drawn face, by which a man is found for a woman who watches."""
    portrait = Image.open(io.BytesIO(read_portrait(Gender.FEMALE, number)))
    return photo_pair(portrait.resize((SIDE, SIDE)))


def photo_pair(portrait: Image.Image) -> tuple[bytes, bytes]:
    """Return a portrait as two files whose faces look alike."""
    return _encode(portrait), _encode(ImageOps.mirror(portrait))


def _encode(image: Image.Image) -> bytes:
    out = io.BytesIO()
    image.save(out, "JPEG", quality=_QUALITY)
    return out.getvalue()


@dataclass(slots=True)
class Sent:
    """One upload."""

    person: str
    began: float
    answered: float = 0.0
    refused: str = ""
    """Why it was not accepted."""

    @property
    def answer_ms(self) -> float:
        return (self.answered - self.began) * 1000


@dataclass
class Load:
    """Sends to one server, and knows who was shown on a page that was open."""

    url: str
    seen: dict[str, float] = field(default_factory=dict)
    """When each person was first shown to somebody who watches."""
    _tasks: list[asyncio.Task[None]] = field(default_factory=list)
    _arrived: asyncio.Event = field(default_factory=asyncio.Event)

    async def __aenter__(self) -> Self:
        limits = httpx2.Limits(max_connections=None, max_keepalive_connections=64)
        self._client = httpx2.AsyncClient(base_url=self.url, timeout=_TIMEOUT_S, limits=limits)
        self._addresses = (f"127.0.1.{n}" for n in itertools.count(1))
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._client.aclose()

    async def upload(self, person: Person, photo: bytes) -> Sent:
        """Upload a photo, and return when it was answered."""
        sent = Sent(person.id, time.monotonic())
        try:
            answer = await self._client.post(
                "/api/faces",
                headers={"authorization": f"Bearer {person.token}"},
                files={"file": ("photo.jpg", photo, "image/jpeg")},
            )
            if answer.status_code != 202:
                sent.refused = str(answer.json()["error"]["code"])
        except (httpx2.HTTPError, ValueError, KeyError) as exc:
            sent.refused = type(exc).__name__
        sent.answered = time.monotonic()
        return sent

    async def upload_at(
        self, rate: float, people: Iterable[Person], photos: Iterable[bytes]
    ) -> list[Sent]:
        """Upload a photo of each person, so many a second, however long the answers take."""
        began = time.monotonic()

        async def upload_after(seconds: float, person: Person, photo: bytes) -> Sent:
            await asyncio.sleep(max(began + seconds - time.monotonic(), 0))
            return await self.upload(person, photo)

        return await asyncio.gather(
            *(
                upload_after(number / rate, person, photo)
                for number, (person, photo) in enumerate(zip(people, photos, strict=False))
            )
        )

    async def wait_for(self, sent: list[Sent], seconds: float) -> int:
        """Wait until all who were accepted have been shown; return how many have not."""
        waiting = {one.person for one in sent if not one.refused}
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while waiting := waiting - self.seen.keys():
                    self._arrived.clear()
                    await self._arrived.wait()
        return len(waiting)

    async def open_feeds(self, people: list[Person]) -> int:
        """Open a feed of each person until the end; return how many are open."""
        opened = 0
        for start in range(0, len(people), _FEEDS_PER_ADDRESS):
            address = next(self._addresses)
            feeds = [
                self._open_feed(person, address)
                for person in people[start : start + _FEEDS_PER_ADDRESS]
            ]
            for task in await asyncio.gather(*feeds, return_exceptions=True):
                if isinstance(task, asyncio.Task):
                    self._tasks.append(task)
                    opened += 1
        return opened

    async def _open_feed(self, person: Person, address: str) -> asyncio.Task[None]:
        parts = urlsplit(self.url)
        async with asyncio.timeout(_TIMEOUT_S):
            # A client of HTTP for each of some hundred feeds would take the processor itself.
            reader, writer = await asyncio.open_connection(
                parts.hostname, parts.port, local_addr=(address, 0)
            )
            writer.write(
                f"GET /api/matches/stream HTTP/1.1\r\nHost: {parts.netloc}\r\n"
                f"Authorization: Bearer {person.token}\r\n\r\n".encode()
            )
            while not (line := await reader.readline()).startswith(b"event: ready"):
                if not line:
                    raise ConnectionResetError
        return asyncio.create_task(self._follow(reader, writer), name="feed")

    async def _follow(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            is_match = False
            async for line in reader:
                if line.startswith(b"event: "):
                    is_match = line.startswith(b"event: match")
                elif is_match and line.startswith(b"data: "):
                    person = json.loads(line[6:])["profile"]["id"]
                    self.seen.setdefault(person, time.monotonic())
                    self._arrived.set()
        finally:
            writer.close()
