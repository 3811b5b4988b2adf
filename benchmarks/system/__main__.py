"""Measure the whole system on this machine and write its part of docs/benchmarks.md.

Server, worker, Postgres and the generator are processes of one machine, on an installation that
exists for this alone. Parts: `grid`, open feeds and uploads a second; `schools`, more people at
the school of those who upload; `faces`, more people elsewhere; `soak`, a constant load. With
60 seconds a trial the first three take about half an hour, `soak` takes its minutes.

    .venv/bin/python -m benchmarks.system --photos FOLDER --json system.json
    .venv/bin/python -m benchmarks.system --only grid --feeds 100,1000 --rates 2,5 --seconds 20
    .venv/bin/python -m benchmarks.system --only soak --minutes 30
    .venv/bin/python -m benchmarks.system --quick
"""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from automatch.cli.runtime.serving.connections import raise_descriptor_limit
from automatch.ops.bench.load import SIDE
from automatch.ops.bench.usage import describe_machine
from benchmarks.feed_load import say
from benchmarks.system import report
from benchmarks.system.photos import VARIABLE, read_pairs
from benchmarks.system.sizes import FaceBytes, Sizes
from benchmarks.system.soak import Soak, soak
from benchmarks.system.trial import Bench, Opening, Trial, bench

_PARTS = ("grid", "schools", "faces", "soak")
_IDLE_S = 15
_FEW = 100
"""Open feeds of the parts that are not about feeds."""
_QUICK = {
    "feeds": [0, 20, 60],
    "rates": [1.0, 2.0],
    "seconds": 6.0,
    "schools": [1_000, 4_000],
    "faces": [4_000],
    "minutes": 0.7,
    "soak_feeds": 60,
    "soak_rate": 1.0,
}


@dataclass
class Found:
    """All of a run."""

    machine: str
    command: str
    date: str
    photos: str
    processes: int
    trials: list[Trial] = field(default_factory=list)
    openings: list[Opening] = field(default_factory=list)
    page_ms: dict[str, float] = field(default_factory=dict)
    face_bytes: list[FaceBytes] = field(default_factory=list)
    photo_bytes: int = 0
    soak: Soak | None = None

    @property
    def said(self) -> str:
        return f"{self.machine}; {self.date}; {self.photos}; server processes: {self.processes}"


def main() -> None:
    options = _options()
    raise_descriptor_limit()
    # Whoever stops it wants the installation gone too.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    command = " ".join(["python -m benchmarks.system", *_shown(sys.argv[1:])])
    found = Found(
        describe_machine(), command, f"{datetime.now(UTC):%Y-%m-%d}", "", options.processes
    )
    try:
        asyncio.run(_measure(options, found))
    except KeyboardInterrupt:
        sys.exit("Stopped; the page is as it was.")
    finally:
        # What was measured before something went wrong, or somebody had seen enough.
        if options.json:
            text = json.dumps(asdict(found), indent=1)
            options.json.write_text(text + "\n", "utf-8")
    _print(found) if options.dry_run else _write(found)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.system",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--only", nargs="+", choices=_PARTS, default=_PARTS, metavar="PART")
    parser.add_argument("--feeds", type=_numbers, default=[0, 100, 1_000, 5_000])
    parser.add_argument("--rates", type=_rates, default=[2, 5, 10], help="uploads a second")
    parser.add_argument("--seconds", type=float, default=60, help="of uploads, each trial")
    parser.add_argument("--schools", type=_numbers, default=[10_000, 50_000], help="people")
    parser.add_argument("--faces", type=_numbers, default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--minutes", type=float, default=30, help="of the soak")
    parser.add_argument("--soak-feeds", type=int, default=1_000)
    parser.add_argument("--soak-rate", type=float, default=2)
    parser.add_argument("--processes", type=int, default=1, help="of the server")
    parser.add_argument("--photos", type=Path, help=f"folder of portraits, else ${VARIABLE}")
    parser.add_argument("--json", type=Path, help="file for the figures")
    parser.add_argument("--dry-run", action="store_true", help="print, and leave the page alone")
    parser.add_argument("--quick", action="store_true", help="try it all out in a few minutes")
    options = parser.parse_args()
    if options.quick:
        vars(options).update(_QUICK, dry_run=True)
    return options


def _numbers(text: str) -> list[int]:
    return sorted(int(number) for number in text.split(","))


def _rates(text: str) -> list[float]:
    return [float(number) for number in text.split(",")]


def _shown(arguments: Sequence[str]) -> list[str]:
    """Return arguments as others may type them: paths are of this machine alone."""
    paths = {"--photos": "FOLDER", "--json": "FILE"}
    before = ["", *arguments]
    return [paths.get(last, word) for last, word in zip(before, arguments, strict=False)]


async def _measure(options: argparse.Namespace, found: Found) -> None:
    pairs, kind = await read_pairs(options.photos)
    say(f"uploads are photos of {kind}")
    parts = set(options.only)
    if parts - {"soak"}:
        async with bench(pairs, options.processes) as running:
            found.photos = _described(running, kind)
            sizes = Sizes(running)
            if "grid" in parts:
                await _grid(running, options, found)
            if parts & {"faces", "schools"}:
                await running.populate(_FEW)
                if not running.feeds:
                    await running.open_feeds(_FEW, 1)
            if "faces" in parts:
                for faces in options.faces:
                    if each := await sizes.grow_to(faces):
                        found.face_bytes.append(each)
                    await _try(running, found, "faces", options.rates[0], options.seconds)
            if "schools" in parts:
                for people in options.schools:
                    await sizes.enlarge_school(people)
                    await _try(running, found, "schools", options.rates[0], options.seconds)
            found.photo_bytes = await running.photo_bytes_each()
    if "soak" in parts:
        # One of its own: it begins as any installation does.
        async with bench(pairs, options.processes) as running:
            found.photos = _described(running, kind)
            found.soak = await soak(
                running,
                feeds=options.soak_feeds,
                rate=options.soak_rate,
                minutes=options.minutes,
            )


def _described(running: Bench, kind: str) -> str:
    # Only of those whose face was found, and good enough.
    return f"photos of {len(running.looks.photos)} {kind}, {SIDE} pixels wide or high"


async def _grid(running: Bench, options: argparse.Namespace, found: Found) -> None:
    idle_s = min(_IDLE_S, options.seconds)
    for feeds in options.feeds:
        # Without a feed there are people all the same, who are told when they come.
        await running.populate(feeds or _FEW)
        found.openings.append(await running.open_feeds(feeds, idle_s))
        for rate in options.rates if feeds else options.rates[:1]:
            await _try(running, found, "grid", rate, options.seconds)
    found.page_ms = await running.read_pages()


async def _try(running: Bench, found: Found, part: str, rate: float, seconds: float) -> None:
    found.trials.append(await running.try_rate(part, rate, seconds))


def _texts(found: Found) -> dict[str, str]:
    texts = {}
    for part in ("grid", "schools", "faces"):
        if trials := [one for one in found.trials if one.part == part]:
            texts[part] = report.trials_text(trials, found.said)
    if opened := report.openings_text(found.openings):
        texts["grid"] += f"\n\n{opened}"
    if found.face_bytes:
        each = found.face_bytes[-1]
        texts["faces"] += (
            f"\n\nA face takes {each.index:,.0f} bytes in the copy that is searched and"
            f" {each.tables:,.0f} in the tables, with the profile of its person."
        )
    if found.soak:
        texts["soak"] = report.soak_text(found.soak, found.said)
    return texts


def _print(found: Found) -> None:
    for text in _texts(found).values():
        print(f"\n{text}")


def _write(found: Found) -> None:
    images = {}
    if grid := [one for one in found.trials if one.part == "grid"]:
        images["grid"] = report.draw_grid(grid)
    if found.soak:
        images["soak"] = report.draw_soak(found.soak)
    for part, text in _texts(found).items():
        report.write(part, text, images.get(part))


if __name__ == "__main__":
    main()
