"""The course of a benchmark: prepare, then raise the rate until something gives way."""

from __future__ import annotations

import asyncio
import itertools
import math
import os
import time
from collections import Counter
from collections.abc import Callable

import psutil

from automatch.errors.configuration import BenchFailedError
from automatch.model.people import Gender
from automatch.ops.bench.installation import fill_school, running_installation, temporary_folder
from automatch.ops.bench.load import Load, make_photos
from automatch.ops.bench.people import People
from automatch.ops.bench.report import Feeds, Report, Step, Times
from automatch.ops.bench.usage import PARTS, Meter, describe_machine
from automatch.settings.settings import Settings

_SIMULATED = 200
_FACES = 6
_OPEN_FEEDS = 400
_FIRST_RATE = 1.0
_SCREEN_MS = 10_000
"""The deployment guide promises a match within 10 to 60 seconds."""
_BEHIND_S = 1.5
"""Uploads of so many seconds may wait when a step ends; more, and the queue grows."""
_SETTLE_S = 20
_WHOLE_S = 30
"""A shorter benchmark has a tenth of the people and feeds, or preparing would take most of it."""
_STEPS = 8
_CLOSE = 1.15
"""Two rates this near to each other are not told apart."""
_PREPARE_S = 120
"""A busy machine takes a while to load the model."""


async def run_bench(
    settings: Settings, *, seconds: float, most_feeds: int, say: Callable[[str], None]
) -> Report:
    """Measure this machine for about so many seconds, after what has to be prepared.

    Args:
        settings: those of the real installation, which is left alone: its disk is used.
        seconds: how long uploads are sent.
        most_feeds: how many connections a server takes here.
        say: is told what goes on.

    Raises:
        BenchFailedError: the temporary installation does not work.
    """
    share = 1.0 if seconds >= _WHOLE_S else 0.1
    simulated, open_feeds = int(_SIMULATED * share), int(_OPEN_FEEDS * share)
    async with temporary_folder(settings.home) as home:
        say("starting an installation of its own")
        async with running_installation(home) as (url, pid):
            say(f"filling a school with {simulated} people")
            await fill_school(home, simulated)
            people = People(settings.model_copy(update={"home": home, "database_url": None}))
            meter = Meter(pid)
            async with Load(url) as load:
                say("opening feeds")
                feeds = await _open_feeds(people, load, meter, open_feeds, most_feeds)
                say("adding faces to look like")
                photos = await _prepare_faces(people, load)
                steps = await _raise_rate(_Trial(people, load, meter, photos), seconds, say)
    return Report(describe_machine(), os.cpu_count() or 1, simulated, feeds, steps)


async def _open_feeds(people: People, load: Load, meter: Meter, count: int, most: int) -> Feeds:
    idle = await people.make(min(count, most // 2), Gender.FEMALE)
    before = meter.server_bytes()
    opened = await load.open_feeds(idle)
    if not opened:
        raise BenchFailedError("No feed could be opened.")
    each = max((meter.server_bytes() - before) // opened, 1)
    # Half of what is free is for everything else.
    fit = psutil.virtual_memory().available // 2 // each
    if fit < most:
        return Feeds(opened, each, fit, f"memory, of which one takes {each // 1024} KiB")
    return Feeds(opened, each, most, "the connections that a server takes")


async def _prepare_faces(people: People, load: Load) -> list[bytes]:
    """Let women who watch add their photos; return those by which men are found for them."""
    pairs = await asyncio.gather(*(asyncio.to_thread(make_photos, n) for n in range(_FACES)))
    watchers = await people.make(_FACES, Gender.FEMALE)
    men = await people.make(_FACES, Gender.MALE)
    await load.open_feeds(watchers)
    for woman, (hers, _) in zip(watchers, pairs, strict=True):
        await load.upload(woman, hers)
    tried = [await load.upload(man, his) for man, (_, his) in zip(men, pairs, strict=True)]
    # Not every drawn face is one for the detector.
    await people.wait_for_jobs(_PREPARE_S)
    await load.wait_for(tried, 1)
    found = [his for one, (_, his) in zip(tried, pairs, strict=True) if one.person in load.seen]
    if not found:
        reasons = ", ".join({one.refused for one in tried if one.refused})
        raise BenchFailedError(f"No photo found a match ({reasons or 'too slow'}).")
    return found


class _Trial:
    """Tries one rate after the other."""

    def __init__(self, people: People, load: Load, meter: Meter, photos: list[bytes]) -> None:
        self._people, self._load, self._meter = people, load, meter
        self._photos = itertools.cycle(photos)

    async def upload_at(self, rate: float, seconds: float) -> Step:
        """Send uploads at a rate, and see whether everything keeps up."""
        men = await self._people.make(max(math.ceil(rate * seconds), 3), Gender.MALE)
        self._meter.restart()
        began = time.monotonic()
        sent = await self._load.upload_at(rate, men, self._photos)
        ended = time.monotonic()
        usage = self._meter.read()
        accepted = [one for one in sent if not one.refused]
        behind = sum(self._load.seen.get(one.person, ended) >= ended for one in accepted)
        lost = await self._load.wait_for(sent, max(seconds, _SCREEN_MS / 1000))
        seen = [
            (one, self._load.seen[one.person]) for one in accepted if one.person in self._load.seen
        ]
        in_all = self._meter.read().cpu_s
        took = max(ended, *(shown for _, shown in seen), began) - began
        screen = Times.of([max(shown - one.answered, 0) * 1000 for one, shown in seen])
        return Step(
            rate=round(rate, 2),
            uploads=len(sent),
            refused=dict(Counter(one.refused for one in sent if one.refused)),
            answer_ms=Times.of([one.answer_ms for one in accepted]),
            screen_ms=screen,
            jobs_per_s=round(len(seen) / took, 2),
            carried=(
                len(accepted) == len(sent)
                and not lost
                and behind <= max(rate * _BEHIND_S, 2)
                and screen is not None
                and screen.p95 <= _SCREEN_MS
            ),
            cpu_ms_per_photo={
                part: round(in_all[part] * 1000 / max(len(seen), 1), 1) for part in PARTS
            },
            usage=usage,
        )

    async def settle(self) -> bool:
        """Return whether what a rate that was too high left behind is done."""
        return await self._people.wait_for_jobs(_SETTLE_S)


async def _raise_rate(trial: _Trial, seconds: float, say: Callable[[str], None]) -> list[Step]:
    """Double the rate until it is too high, then look between the last two."""
    ends = time.monotonic() + seconds
    length = seconds / _STEPS
    steps: list[Step] = []
    carried, failed = 0.0, math.inf
    rate = _FIRST_RATE
    while True:
        say(f"{rate * 60:.0f} uploads a minute")
        step = await trial.upload_at(rate, length)
        steps.append(step)
        if step.carried:
            carried = rate
        else:
            failed = rate
            if not await trial.settle():
                return steps
        rate = carried * 2 if failed == math.inf else (carried + failed) / 2
        is_found = carried and failed / carried < _CLOSE
        if time.monotonic() + length > ends or is_found or rate < _FIRST_RATE / 8:
            return steps
