"""One trial: so many open feeds and so many uploads a second, for so long."""

from __future__ import annotations

import asyncio
import itertools
import math
import os
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx2

from automatch.model.people import Gender
from automatch.ops.bench.load import Load, Sent
from automatch.ops.bench.people import People, Person
from automatch.ops.bench.usage import Meter
from benchmarks.feed_load import Looks, Streams, Times, installation, say
from benchmarks.system.verdict import saturated
from benchmarks.system.watch import Watch, photo_bytes, watching

_OPENED_AT_ONCE = 200
_DRAIN_S = 120
_SETTLE_S = 2
_PAGES = 200


@dataclass(frozen=True, slots=True)
class Trial:
    """What came of it; times in milliseconds, CPU of each part."""

    part: str
    feeds: int
    rate: float
    seconds: float
    people: int
    """Who may be found, in the school of those who upload."""
    faces: int
    """In all schools."""
    load_before: float
    uploads: int
    refused: dict[str, int]
    answer_ms: Times | None
    screen_ms: Times | None
    """From the first byte of an upload to each person who was told of it."""
    told: int
    commit_ms: Times | None
    """From the commit of a match to each person who was told of it."""
    cores: dict[str, float]
    """While uploads were sent."""
    busy: float
    waiting_for_disk: float
    waiting: int
    """Jobs that were not finished when the last upload was answered."""
    drained_s: float
    cpu_ms_per_upload: dict[str, float]
    """Until the last job was finished; what open feeds take all the time is in it."""
    counted_s: float
    """How long that was."""
    wal_bytes_per_upload: int
    memory_mib: dict[str, float]
    files: dict[str, int]
    connections: int
    saturated: str


@dataclass(frozen=True, slots=True)
class Opening:
    """What it takes to open feeds, and to keep them open while nothing happens."""

    feeds: int
    opened: int
    opening_ms: Times | None
    cpu_ms_each: dict[str, float]
    kib_each: float
    idle_cores: dict[str, float]
    """Of all feeds that are open, these among them."""
    open_in_all: int


@dataclass
class Bench:
    """One installation under load."""

    home: Path
    people: People
    load: Load
    meter: Meter
    watch: Watch
    looks: Looks
    streams: Streams
    processes: int
    women: list[Person] = field(default_factory=list)
    feeds: int = 0
    faces: int = 0
    """Of people at other schools."""
    others: int = 0
    """People at this school who resemble nobody."""
    uploads: int = 0

    async def populate(self, count: int) -> None:
        """Have at least so many women who look like the photos."""
        missing = max(count - len(self.women), 0)
        self.women += await self.looks.give_to_women(self.people, missing)
        await self.settle()

    async def settle(self) -> None:
        """Wait until new people are compared for second accounts, and clean up what was written.

        In a trial it would be counted as a cost of what is measured.
        """
        while not await self.watch.are_all_compared():
            await asyncio.sleep(_SETTLE_S)
        await self.watch.conn.execute("vacuum (analyze)")
        await self.watch.conn.execute("checkpoint")

    async def open_feeds(self, count: int, idle_s: float) -> Opening:
        """Open feeds until there are so many, and let them wait."""
        more = self.women[self.feeds : count]
        before = (await self.watch.sample()).memory_mib["server"]
        self.meter.restart()
        took: list[float] = []
        for start in range(0, len(more), _OPENED_AT_ONCE):
            took += await self.streams.open(more[start : start + _OPENED_AT_ONCE])
        spent = self.meter.read().cpu_s
        self.feeds += len(took)
        await asyncio.sleep(_SETTLE_S)
        after = (await self.watch.sample()).memory_mib["server"]
        self.meter.restart()
        await asyncio.sleep(idle_s)
        idle = self.meter.read()
        each = max(len(took), 1)
        return Opening(
            feeds=len(more),
            opened=len(took),
            opening_ms=Times.of(took),
            cpu_ms_each={part: round(1000 * cpu / each, 2) for part, cpu in spent.items()},
            kib_each=round(1024 * (after - before) / each, 1),
            idle_cores={part: round(idle.cores(part), 4) for part in idle.cpu_s},
            open_in_all=self.feeds,
        )

    async def read_pages(self) -> dict[str, float]:
        """Return the milliseconds of CPU that each part takes to answer for a page of a feed."""
        self.meter.restart()
        async with httpx2.AsyncClient(base_url=self.load.url, timeout=60) as client:
            for woman in itertools.islice(itertools.cycle(self.women), _PAGES):
                headers = {"authorization": f"Bearer {woman.token}"}
                answer = await client.get("/api/matches", headers=headers)
                answer.raise_for_status()
        spent = self.meter.read().cpu_s
        return {part: round(1000 * cpu / _PAGES, 2) for part, cpu in spent.items()}

    async def photo_bytes_each(self) -> int:
        """Return what the disk holds of a photo."""
        return await asyncio.to_thread(photo_bytes, self.home) // max(self.uploads, 1)

    async def try_rate(self, part: str, rate: float, seconds: float) -> Trial:
        """Upload at a rate, and wait until all is done."""
        load_before = os.getloadavg()[0]
        say(f"{part}: {self.feeds:,} feeds, {rate:g} uploads a second for {seconds:.0f} s")
        # Of a rate that was too high there may be something left.
        await self.people.wait_for_jobs(_DRAIN_S)
        men = await self.people.make(max(math.ceil(rate * seconds), 1), Gender.MALE)
        await asyncio.sleep(_SETTLE_S)
        self.streams.late_s.clear()
        self.streams.shown.clear()
        log = await self.watch.wal_position()
        self.meter.restart()
        sent = await self.send(men, rate)
        usage = self.meter.read()
        end = await self.watch.sample()
        if not await self.people.wait_for_jobs(_DRAIN_S):
            say(f"after {_DRAIN_S} s there are still jobs")
        drained = time.monotonic() - end.at_s
        await asyncio.sleep(_SETTLE_S)
        spent = self.meter.read()
        accepted = [one for one in sent if not one.refused]
        began = {one.person: one.began for one in accepted}
        self.uploads += len(accepted)
        trial = Trial(
            part=part,
            feeds=self.feeds,
            rate=rate,
            seconds=round(usage.seconds, 1),
            people=len(self.women) + self.others,
            faces=len(self.women) + self.others + self.faces,
            load_before=round(load_before, 1),
            uploads=len(sent),
            refused=dict(Counter(one.refused for one in sent if one.refused)),
            answer_ms=Times.of([one.answer_ms / 1000 for one in accepted]),
            screen_ms=Times.of(
                [at - began[person] for person, at in self.streams.shown if person in began]
            ),
            told=len(self.streams.late_s),
            commit_ms=Times.of(self.streams.late_s),
            cores={part: round(usage.cores(part), 2) for part in usage.cpu_s},
            busy=round(usage.busy, 2),
            waiting_for_disk=round(usage.waiting_for_disk, 2),
            waiting=end.waiting,
            drained_s=round(drained, 1),
            cpu_ms_per_upload={
                part: round(1000 * cpu / max(len(accepted), 1), 2)
                for part, cpu in spent.cpu_s.items()
            },
            counted_s=round(spent.seconds, 1),
            wal_bytes_per_upload=(await self.watch.wal_position() - log) // max(len(accepted), 1),
            memory_mib=end.memory_mib,
            files=end.files,
            connections=end.connections,
            saturated=saturated(
                usage,
                cores=os.cpu_count() or 1,
                server_processes=self.processes,
                waiting=end.waiting,
                rate=rate,
            ),
        )
        say(f"  upload to screen {trial.screen_ms} ms; saturated: {trial.saturated}")
        return trial

    async def send(self, men: list[Person], rate: float) -> list[Sent]:
        return await self.load.upload_at(rate, men, itertools.cycle(self.looks.photos))


@asynccontextmanager
async def bench(pairs: list[tuple[bytes, bytes]], processes: int) -> AsyncIterator[Bench]:
    """Start an installation that exists for the block alone."""
    async with (
        installation(pairs, processes) as place,
        watching(place.home, place.meter) as watch,
    ):
        streams = Streams(place.load.url, page=False)
        try:
            yield Bench(
                place.home,
                place.people,
                place.load,
                place.meter,
                watch,
                place.looks,
                streams,
                processes,
            )
        finally:
            streams.close()
