"""A constant load for a long time: whether memory, files and connections stay as they are."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable
from dataclasses import dataclass

from automatch.model.people import Gender
from benchmarks.feed_load import Times, say
from benchmarks.system.trial import Bench
from benchmarks.system.verdict import is_flat, rise
from benchmarks.system.watch import Sample

_LOT_S = 20
_SAMPLES = 60
_DRAIN_S = 120
_PARTS = ("server", "worker", "database")


@dataclass(frozen=True, slots=True)
class Series:
    """One figure over time, and what is said of it."""

    name: str
    unit: str
    values: list[float]
    rise: float
    flat: bool


@dataclass(frozen=True, slots=True)
class Soak:
    """What came of it."""

    feeds: int
    rate: float
    uploads: int
    refused: int
    unfinished: bool
    minutes: list[float]
    series: list[Series]
    screen_ms: dict[str, Times | None]
    """In the first and the last fifth."""

    @property
    def flat(self) -> bool:
        return all(one.flat for one in self.series)


async def soak(bench: Bench, *, feeds: int, rate: float, minutes: float) -> Soak:
    """Upload at a rate for so many minutes, and look at everything as often as is worth it."""
    await bench.populate(feeds)
    await bench.open_feeds(feeds, 0)
    began, samples = time.monotonic(), list[Sample]()
    watching = asyncio.create_task(_watch(bench, samples, 60 * minutes / _SAMPLES))
    shown, sent, refused = list[tuple[float, float]](), 0, 0
    try:
        while (left := began + 60 * minutes - time.monotonic()) > 0:
            lot_s = min(_LOT_S, left)
            men = await bench.people.make(max(math.ceil(rate * lot_s), 1), Gender.MALE)
            bench.streams.shown.clear()
            lot_ends = time.monotonic() + lot_s
            lot = await bench.send(men, rate)
            started = {one.person: one.began for one in lot}
            await asyncio.sleep(max(lot_ends - time.monotonic(), 0))
            shown += [
                (at - began, at - started[person])
                for person, at in bench.streams.shown
                if person in started
            ]
            sent += len(lot)
            refused += sum(bool(one.refused) for one in lot)
            if watching.done():
                break
    finally:
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)
    finished = await bench.people.wait_for_jobs(_DRAIN_S)
    fifth = 60 * minutes / 5
    return Soak(
        feeds=bench.feeds,
        rate=rate,
        uploads=sent,
        refused=refused,
        unfinished=not finished,
        minutes=[round((one.at_s - began) / 60, 2) for one in samples],
        series=_series(samples),
        screen_ms={
            "first fifth": Times.of([took for at, took in shown if at < fifth]),
            "last fifth": Times.of([took for at, took in shown if at >= 4 * fifth]),
        },
    )


async def _watch(bench: Bench, samples: list[Sample], every_s: float) -> None:
    while True:
        samples.append(await bench.watch.sample())
        if len(samples) % 5 == 1:
            last = samples[-1]
            memory = ", ".join(f"{part} {last.memory_mib[part]:.0f}" for part in _PARTS)
            say(
                f"soak: MiB {memory}; files {sum(last.files[part] for part in _PARTS):,},"
                f" connections {last.connections}, jobs {last.waiting}"
            )
        await asyncio.sleep(every_s)


def _series(samples: list[Sample]) -> list[Series]:
    at = [one.at_s / 60 for one in samples]

    def judged(
        name: str, unit: str, tolerance: float, value_of: Callable[[Sample], float]
    ) -> Series:
        values = [float(value_of(one)) for one in samples]
        flat = is_flat(at, values, tolerance)
        return Series(name, unit, values, round(rise(at, values), 1), flat)

    return [
        *(
            judged(f"memory, {part}", "MiB", 4, lambda one, part=part: one.memory_mib[part])
            for part in _PARTS
        ),
        *(
            judged(f"files, {part}", "", 4, lambda one, part=part: one.files[part])
            for part in _PARTS
        ),
        judged("connections", "", 2, lambda one: one.connections),
        judged("jobs that wait", "", 5, lambda one: one.waiting),
    ]
