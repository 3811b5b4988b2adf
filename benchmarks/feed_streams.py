"""Open feeds and uploads at once: how late a match is told, and what a stream that waits costs.

Starts `automatch up` on an empty data folder. Women have their feeds open and look like one of a
few drawn faces; men upload photos of those faces, so each photo is told to twenty women. This
process is the generator; server, worker and database are processes of their own, and one clock
is everybody's.

    .venv/bin/python -m benchmarks.feed_streams [--trials 200:3,1000:5] [--seconds 60] [--page]

A match carries the time at which it was written, a few milliseconds before its commit; "told" is
from then until the client has read it.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import math
import os
from dataclasses import asdict, dataclass
from pathlib import Path

from automatch.cli.runtime.serving.connections import raise_descriptor_limit
from automatch.model.people import Gender
from automatch.ops.bench.people import Person
from automatch.ops.bench.usage import describe_machine
from benchmarks.feed_load import Installation, Streams, Times, drawn_photos, installation, say

_FACES = 10
_SETTLE_S = 3
_GENTLY = 25
"""Opened at a time to measure what one costs: many at once leave the heap of their requests."""
_DONE_S = 240


@dataclass(frozen=True, slots=True)
class Trial:
    """What came of so many open streams and so many uploads a second."""

    streams: int
    opened: int
    rate: float
    seconds: float
    load_before: float
    opening_ms: Times | None
    """All opened at once, until each was told where its feed is."""
    kib_each: float
    """What the memory of the servers grew by, a stream that waits, when they opened in turn."""
    uploads: int
    refused: int
    answer_ms: Times | None
    told: int
    told_ms: Times | None
    cores: dict[str, float]
    """Kept busy while uploads were sent, by each part."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trials", default="200:3,1000:5", help="streams:uploads a second, ...")
    parser.add_argument("--seconds", type=float, default=60, help="of uploads, each trial")
    parser.add_argument("--page", action="store_true", help="streams of pages, not of apps")
    parser.add_argument("--processes", type=int, default=1, help="of the server")
    parser.add_argument("--json", type=Path, help="file for the figures")
    options = parser.parse_args()
    raise_descriptor_limit()
    trials = [(int(n), float(rate)) for n, _, rate in map(_halves, options.trials.split(","))]
    found = asyncio.run(_measure(trials, options.seconds, options.page, options.processes))
    kind = "page" if options.page else "app"
    print(f"\n{describe_machine()}; streams of {kind}s, server processes: {options.processes}\n")
    _print(found)
    if options.json:
        figures = {
            "machine": describe_machine(),
            "kind": kind,
            "processes": options.processes,
            "trials": [asdict(trial) for trial in found],
        }
        options.json.write_text(json.dumps(figures, indent=1) + "\n", "utf-8")


def _halves(text: str) -> tuple[str, str, str]:
    return text.partition(":")


def _print(trials: list[Trial]) -> None:
    print(
        "| streams | uploads a second | told p50 / p95 / p99 (ms) | answers (ms) | opening (ms) |"
        " KiB a stream | cores: server, worker, database, generator | load before |"
    )
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    for trial in trials:
        cores = ", ".join(f"{value:.2f}" for value in trial.cores.values())
        print(
            f"| {trial.opened} | {trial.rate:g} | {trial.told_ms} | {trial.answer_ms} |"
            f" {trial.opening_ms} | {trial.kib_each:.1f} | {cores} | {trial.load_before:.1f} |"
        )


async def _measure(
    trials: list[tuple[int, float]], seconds: float, page: bool, processes: int
) -> list[Trial]:
    async with installation(await drawn_photos(_FACES), processes) as place:
        most = max(streams for streams, _ in trials)
        women = await place.looks.give_to_women(place.people, most)
        return [
            await _try(place, women[:streams], rate=rate, seconds=seconds, page=page)
            for streams, rate in trials
        ]


async def _try(
    place: Installation, women: list[Person], *, rate: float, seconds: float, page: bool
) -> Trial:
    people, load, meter = place.people, place.load, place.meter
    busy = os.getloadavg()[0]
    say(f"opening {len(women)} streams; load {busy:.1f}")
    streams = Streams(load.url, page=page)
    before = meter.server_bytes()
    gently = [
        took
        for start in range(0, len(women), _GENTLY)
        for took in await streams.open(women[start : start + _GENTLY])
    ]
    await asyncio.sleep(_SETTLE_S)
    each = (meter.server_bytes() - before) / max(len(gently), 1)
    streams.close()
    await asyncio.sleep(_SETTLE_S)
    opening = await streams.open(women)
    men = await people.make(max(math.ceil(rate * seconds), 1), Gender.MALE)
    streams.late_s.clear()
    say(f"{rate:g} uploads a second")
    meter.restart()
    sent = await load.upload_at(rate, men, itertools.cycle(place.looks.photos))
    usage = meter.read()
    await people.wait_for_jobs(_DONE_S)
    await asyncio.sleep(_SETTLE_S)
    streams.close()
    answered = [one.answer_ms / 1000 for one in sent if not one.refused]
    return Trial(
        streams=len(women),
        opened=len(opening),
        rate=rate,
        seconds=round(seconds, 1),
        load_before=round(busy, 2),
        opening_ms=Times.of(opening),
        kib_each=round(each / 1024, 1),
        uploads=len(sent),
        refused=len(sent) - len(answered),
        answer_ms=Times.of(answered),
        told=len(streams.late_s),
        told_ms=Times.of(streams.late_s),
        cores={part: round(usage.cores(part), 2) for part in usage.cpu_s},
    )


if __name__ == "__main__":
    main()
