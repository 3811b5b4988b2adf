"""What benchmarks with open feeds put a server under: people who look alike, and their streams."""

from __future__ import annotations

import asyncio
import re
import sys
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from urllib.parse import urlsplit
from uuid import UUID

import numpy as np
import psycopg
from pgvector.psycopg import register_vector

from automatch.model.people import Gender
from automatch.ops.bench.installation import SCHOOL, running_installation, temporary_folder
from automatch.ops.bench.load import Load, make_photos
from automatch.ops.bench.people import People, Person
from automatch.ops.bench.usage import Meter
from automatch.postgres.addresses import database_address
from automatch.settings.secrets import read
from automatch.settings.settings import Settings
from tests.support.bulk import as_texts, copy_columns, write_embeddings

_FEEDS_PER_ADDRESS = 500
_CREATED = re.compile(rb'"created_at":"([^"]+)"')
_PAGE_TIME = re.compile(rb'datetime=\\"([^"\\]+)\\"')
_EVENT = re.compile(rb"event: (\w+)")
_SHOWN = re.compile(rb'"profile":\{"id":"([^"]+)"')
_OPEN_S = 60
_UPLOAD_FIRST_S = 240


@dataclass(frozen=True, slots=True)
class Times:
    """Milliseconds."""

    p50: float
    p95: float
    p99: float

    @classmethod
    def of(cls, seconds: list[float]) -> Times | None:
        """Return those of some durations; None without any."""
        if not seconds:
            return None
        found = np.percentile(np.array(seconds) * 1000, [50, 95, 99])
        return cls(*(round(float(value), 1) for value in found))

    def __str__(self) -> str:
        return f"{self.p50:.0f} / {self.p95:.0f} / {self.p99:.0f}"


class Streams:
    """Open streams of one server, and how late each match came."""

    def __init__(self, url: str, *, page: bool) -> None:
        self._parts = urlsplit(url)
        self._page = page
        self._open: list[_Stream] = []
        self.late_s: list[float] = []
        self.shown: list[tuple[str, float]] = []
        """Who was shown to somebody, and when; of streams of apps."""

    async def open(self, people: list[Person]) -> list[float]:
        """Open the feed of each person at once; return how long each took."""
        tasks = [
            self._open_one(person, f"127.0.2.{1 + number // _FEEDS_PER_ADDRESS}")
            for number, person in enumerate(people, len(self._open))
        ]
        took = await asyncio.gather(*tasks, return_exceptions=True)
        if failed := [error for error in took if isinstance(error, BaseException)]:
            print(f"{len(failed)} streams did not open: {failed[0]!r}", file=sys.stderr)
        return [seconds for seconds in took if isinstance(seconds, float)]

    def close(self) -> None:
        """Close all of them."""
        for stream in self._open:
            stream.transport.abort()
        self._open.clear()

    async def _open_one(self, person: Person, address: str) -> float:
        began = time.monotonic()
        path, header = "/api/matches/stream", f"Authorization: Bearer {person.token}"
        if self._page:
            path, header = "/feed/stream", f"Cookie: automatch_access={person.token}"
        request = f"GET {path} HTTP/1.1\r\nHost: {self._parts.netloc}\r\n{header}\r\n\r\n"
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(_OPEN_S):
            _, stream = await loop.create_connection(
                lambda: _Stream(request.encode(), self.late_s, self.shown),
                self._parts.hostname,
                self._parts.port,
                local_addr=(address, 0),
            )
            self._open.append(stream)
            await stream.ready
        return time.monotonic() - began


class _Stream(asyncio.Protocol):
    """One client, which reads as little of its events as it can."""

    transport: asyncio.Transport

    def __init__(self, request: bytes, late_s: list[float], shown: list[tuple[str, float]]) -> None:
        self._request = request
        self._late_s = late_s
        self._shown = shown
        self._unread = b""
        self.ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        transport.write(self._request)

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.ready.done():
            self.ready.set_exception(exc or ConnectionResetError(repr(self._unread[:100])))

    def data_received(self, data: bytes) -> None:
        now = time.time()
        *events, self._unread = (self._unread + data).split(b"\n\n")
        for event in events:
            kind = _EVENT.search(event)
            if kind is None:
                continue
            if kind[1] == b"ready" and not self.ready.done():
                self.ready.set_result(None)
            elif kind[1] == b"match" and (created := _created_at(event)):
                self._late_s.append(now - created)
                if person := _SHOWN.search(event):
                    self._shown.append((person[1].decode(), time.monotonic()))


def _created_at(event: bytes) -> float | None:
    found = _CREATED.search(event) or _PAGE_TIME.search(event)
    return datetime.fromisoformat(found[1].decode()).timestamp() if found else None


async def drawn_photos(count: int) -> list[tuple[bytes, bytes]]:
    """Return two photos of each of some drawn faces."""
    return await asyncio.gather(*(asyncio.to_thread(make_photos, n) for n in range(count)))


@dataclass(frozen=True)
class Looks:
    """Templates of faces, and photos by which whoever has one of them is found."""

    home: Path
    model: str
    templates: list[np.ndarray]
    photos: list[bytes]

    @classmethod
    async def upload(
        cls, people: People, load: Load, home: Path, pairs: Sequence[tuple[bytes, bytes]]
    ) -> Looks:
        """Learn the templates of the first photos; the second ones find them."""
        leaders = await people.make(len(pairs), Gender.FEMALE)
        for woman, (hers, _) in zip(leaders, pairs, strict=True):
            await load.upload(woman, hers)
        await people.wait_for_jobs(_UPLOAD_FIRST_S)
        found = await asyncio.to_thread(_take_templates, home, [each.id for each in leaders])
        # Not every face is one for the detector.
        seen = [number for number, woman in enumerate(leaders) if woman.id in found]
        if not seen:
            raise SystemExit("No face was found in any of the photos.")
        return cls(
            home,
            found[leaders[seen[0]].id][0],
            [found[leaders[number].id][1] for number in seen],
            [pairs[number][1] for number in seen],
        )

    async def give_to_women(self, people: People, count: int) -> list[Person]:
        """Make women who look like the faces in turns."""
        women = await people.make(count, Gender.FEMALE)
        await asyncio.to_thread(self._give, women)
        return women

    def _give(self, women: list[Person]) -> None:
        if not women:
            return
        dice = np.random.default_rng(1)
        looks = np.stack([self.templates[n % len(self.templates)] for n in range(len(women))])
        near = looks + dice.normal(scale=0.004, size=looks.shape)
        near /= np.linalg.norm(near, axis=1, keepdims=True)
        # Each has one face, with the same id. Thousands would take the triggers a minute.
        ids = np.stack([np.frombuffer(UUID(woman.id).bytes, np.uint8) for woman in women])
        texts = [woman.id.replace("-", "") for woman in women]
        with psycopg.connect(owner_address(self.home)) as conn:
            conn.execute("set session_replication_role = replica")
            copy_columns(
                conn,
                "public.faces (id, profile_id, image_path, image_sha256)",
                [ids, ids, as_texts(texts), as_texts([text * 2 for text in texts])],
            )
            write_embeddings(conn, SCHOOL, "female", ids, near, model=self.model)


def _take_templates(home: Path, leaders: list[str]) -> dict[str, tuple[str, np.ndarray]]:
    with psycopg.connect(owner_address(home)) as conn:
        register_vector(conn)
        rows = conn.execute(
            "select f.profile_id::text, e.model, e.embedding from public.faces as f"
            " join public.face_embeddings as e on e.face_id = f.id where f.profile_id = any (%s)",
            [leaders],
        ).fetchall()
        # Whoever was asked again has been seen well enough by others.
        conn.execute("delete from public.faces where profile_id = any (%s)", [leaders])
    return {profile: (model, vector.to_numpy()) for profile, model, vector in rows}


@dataclass(frozen=True)
class Installation:
    """One that exists for a benchmark alone, with a school in which people look alike."""

    home: Path
    people: People
    load: Load
    meter: Meter
    looks: Looks


@asynccontextmanager
async def installation(
    pairs: Sequence[tuple[bytes, bytes]], processes: int
) -> AsyncIterator[Installation]:
    """Start one with so many processes of its server, with faces that look like these photos."""
    async with temporary_folder(Path("/tmp/automatch")) as home:
        say("starting an installation of its own")
        options = ("--processes", str(processes)) if processes > 1 else ()
        async with running_installation(home, *options) as (url, pid):
            people = People(Settings(home=home))
            meter = Meter(pid)
            async with Load(url) as load:
                await asyncio.to_thread(_open_school, home)
                say("adding faces to look like")
                looks = await Looks.upload(people, load, home, pairs)
                yield Installation(home, people, load, meter, looks)


def _open_school(home: Path) -> None:
    with psycopg.connect(owner_address(home)) as conn:
        conn.execute("insert into automatch.schools (name, is_open) values (%s, true)", [SCHOOL])


def owner_address(home: Path) -> str:
    """Return where its owner connects to the database of an installation."""
    return database_address(Settings(home=home), read(home), "owner")


def say(text: str) -> None:
    """Show how far a benchmark is."""
    print(text, file=sys.stderr, flush=True)
