"""The seven criteria of the guide, in its order, each with a tick or a reason."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from automatch.ops.smoke_test.live_server import (
    LiveServer,
    NotAnsweredError,
    Person,
    SmokeTestPair,
    Upload,
)

_AT_ONCE_MS = 2000.0
"""An answer that waits for the search would take longer on any machine that is loaded."""
_LOOK_S = 0.1
_MOST_MATCHES = 20
_ERASE_TRIES = 3
_ERASE_S = 30.0


class Criterion(StrEnum):
    """What the guide says one will know it by; the last is our own promise."""

    ANSWERED = "Upload is answered with 202 immediately"
    PENDING = "Job appears in match_jobs with status pending"
    COMPLETED = "Within 60 seconds its status is completed"
    MATCHED = "Matches appear (0 to 20)"
    LIVE = "Live feed updates without a refresh"
    FITTING = "Matches are of the same school and the opposite gender"
    LOGGED = "Logs show the processing"
    ERASED = "The two people of the trial are erased"


class Outcome(StrEnum):
    """What came of it."""

    MET = "met"
    NOT_MET = "not met"
    NOT_TRIED = "not tried"


@dataclass(frozen=True, slots=True)
class Verdict:
    """A criterion and what came of it."""

    criterion: Criterion
    outcome: Outcome
    says: str
    took_ms: float | None = None


class _MissedError(Exception):
    """A criterion is not met; those after it cannot be tried."""

    def __init__(self, criterion: Criterion, says: str) -> None:
        super().__init__(says)
        self.criterion = criterion
        self.says = says


async def verify(
    server: LiveServer,
    photos: tuple[bytes, bytes],
    tell: Callable[[Verdict], None],
    *,
    within_s: float = 60,
) -> None:
    """Try every criterion with two throw-away people; tell each verdict as it falls.

    The two are erased whatever happens, also when this is cancelled; that is told too.
    """
    told: set[Criterion] = set()

    def note(verdict: Verdict) -> None:
        told.add(verdict.criterion)
        tell(verdict)

    trial: SmokeTestPair | None = None
    try:
        trial = await _begin(server)
        await _try(server, trial, photos, note, within_s)
    except _MissedError as exc:
        note(Verdict(exc.criterion, Outcome.NOT_MET, exc.says))
        for criterion in Criterion:
            if criterion not in told and criterion is not Criterion.ERASED:
                tell(Verdict(criterion, Outcome.NOT_TRIED, "What comes before it did not work."))
    finally:
        if trial is not None:
            tell(await _erase(server, trial))


async def _begin(server: LiveServer) -> SmokeTestPair:
    try:
        return await server.start_trial()
    except NotAnsweredError as exc:
        raise _MissedError(Criterion.ANSWERED, str(exc)) from exc


async def _try(
    server: LiveServer,
    trial: SmokeTestPair,
    photos: tuple[bytes, bytes],
    tell: Callable[[Verdict], None],
    within_s: float,
) -> None:
    hers = await _upload(server, trial.her, photos[0])
    tell(_met(Criterion.ANSWERED, f"202 after {hers.took_ms:.0f} ms.", hers.took_ms))
    tell(await _pending(server, hers))
    tell(await _completed(server, hers, within_s))

    opened = asyncio.Event()
    watching = asyncio.create_task(_seen(server, trial, opened))
    try:
        await _opened(watching, opened, within_s)
        began = time.perf_counter()
        his = await _upload(server, trial.him, photos[1])
        await _completed(server, his, within_s)
        found = await _matched(server, trial, his)
        says = f"{len(found[0])} in her feed and {len(found[1])} in his."
        tell(_met(Criterion.MATCHED, says))
        tell(await _live(watching, began, within_s))
    finally:
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)
    tell(_fitting(trial, *found))
    tell(await _logged(server, his))


def _met(criterion: Criterion, says: str, took_ms: float | None = None) -> Verdict:
    return Verdict(criterion, Outcome.MET, says, took_ms)


async def _upload(server: LiveServer, person: Person, photo: bytes) -> Upload:
    try:
        await server.consent(person)
        upload = await server.upload(person, photo)
    except NotAnsweredError as exc:
        raise _MissedError(Criterion.ANSWERED, str(exc)) from exc
    if upload.status != 202:
        raise _MissedError(Criterion.ANSWERED, f"It was answered with {upload.status}.")
    if upload.took_ms > _AT_ONCE_MS:
        raise _MissedError(Criterion.ANSWERED, f"202, but only after {upload.took_ms:.0f} ms.")
    return upload


async def _pending(server: LiveServer, upload: Upload) -> Verdict:
    try:
        job = await server.job(upload.job_id)
    except NotAnsweredError as exc:
        raise _MissedError(Criterion.PENDING, str(exc)) from exc
    if upload.job_status != "pending":
        raise _MissedError(Criterion.PENDING, f"The upload was answered with {upload.job_status}.")
    now = "" if job["status"] == "pending" else f", and is {job['status']} by now"
    return _met(Criterion.PENDING, f"Its job is there, was pending{now}.")


async def _completed(server: LiveServer, upload: Upload, within_s: float) -> Verdict:
    began = time.perf_counter()
    while True:
        try:
            job = await server.job(upload.job_id)
        except NotAnsweredError as exc:
            raise _MissedError(Criterion.COMPLETED, str(exc)) from exc
        took_s = time.perf_counter() - began
        if job["status"] == "completed":
            took_ms = took_s * 1000 + upload.took_ms
            return _met(Criterion.COMPLETED, f"After {took_ms:.0f} ms.", took_ms)
        if job["status"] == "failed":
            error = job["error"] or {"code": "unknown", "message": ""}
            raise _MissedError(
                Criterion.COMPLETED, f"It failed: {error['code']}: {error['message']}"
            )
        if took_s > within_s:
            raise _MissedError(Criterion.COMPLETED, await _why_not(server, job, within_s))
        await asyncio.sleep(_LOOK_S)


async def _why_not(server: LiveServer, job: dict[str, Any], within_s: float) -> str:
    says = f"It is still {job['status']} after {within_s:g} s"
    if job["error"]:
        return f"{says}; the last attempt ended with {job['error']['code']}."
    try:
        queue = await server.queue()
    except NotAnsweredError:
        return f"{says}."
    if queue["paused"]:
        return f"{says}: the queue is paused (`automatch jobs resume`)."
    if job["status"] == "pending" and not queue["processing"]:
        return f"{says}: no worker took it. Is one running (`automatch doctor`)?"
    return f"{says}; {queue['waiting']} jobs wait, {queue['processing']} are worked on."


async def _seen(server: LiveServer, trial: SmokeTestPair, opened: asyncio.Event) -> float:
    """Return when he arrives in her live feed, by the clock of `perf_counter`."""
    async with server.stream(trial.her) as events:
        async for kind, data in events:
            if kind == "ready":
                opened.set()
            elif kind == "match" and data["profile"]["id"] == trial.him.id:
                return time.perf_counter()
    raise NotAnsweredError("The live feed ended.")


async def _opened(watching: asyncio.Task[float], opened: asyncio.Event, within_s: float) -> None:
    waiting = asyncio.create_task(opened.wait())
    try:
        await asyncio.wait(
            {watching, waiting}, timeout=within_s, return_when=asyncio.FIRST_COMPLETED
        )
    finally:
        waiting.cancel()
    if watching.done() and (exc := watching.exception()) is not None:
        raise _MissedError(Criterion.LIVE, str(exc))
    if not opened.is_set() and not watching.done():
        raise _MissedError(Criterion.LIVE, f"The live feed said nothing for {within_s:g} s.")


async def _matched(
    server: LiveServer, trial: SmokeTestPair, his: Upload
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    try:
        hers, theirs = await server.matches(trial.her), await server.matches(trial.him)
        job = await server.job(his.job_id)
    except NotAnsweredError as exc:
        raise _MissedError(Criterion.MATCHED, str(exc)) from exc
    if not hers or not theirs:
        raise _MissedError(
            Criterion.MATCHED,
            "Two faces that look alike did not match. The guide allows 0 matches, but these two "
            f"should: his job says {job['match_count']}. Is the threshold too high "
            "(`automatch threshold`)?",
        )
    if max(len(hers), len(theirs)) > _MOST_MATCHES:
        raise _MissedError(Criterion.MATCHED, f"{len(hers)} and {len(theirs)}, more than 20.")
    return hers, theirs


async def _live(watching: asyncio.Task[float], began: float, within_s: float) -> Verdict:
    await asyncio.wait({watching}, timeout=within_s)
    if not watching.done():
        raise _MissedError(
            Criterion.LIVE,
            f"The match is there, and after {within_s:g} s no open feed was told. Does a proxy "
            "hold back text/event-stream?",
        )
    if (exc := watching.exception()) is not None:
        raise _MissedError(Criterion.LIVE, str(exc))
    took_ms = (watching.result() - began) * 1000
    return _met(Criterion.LIVE, f"{took_ms:.0f} ms from his upload to her feed.", took_ms)


def _fitting(
    trial: SmokeTestPair, hers: list[dict[str, Any]], theirs: list[dict[str, Any]]
) -> Verdict:
    for matches, other in ((hers, trial.him), (theirs, trial.her)):
        profiles = [match["profile"] for match in matches]
        if any(one["school"] != trial.school or one["id"] != other.id for one in profiles):
            raise _MissedError(
                Criterion.FITTING,
                "A match is with somebody of another school or of the same gender.",
            )
    return _met(Criterion.FITTING, "She found him, he found her, and no one else.")


async def _logged(server: LiveServer, upload: Upload) -> Verdict:
    try:
        job = await server.job(upload.job_id)
    except NotAnsweredError as exc:
        raise _MissedError(Criterion.LOGGED, str(exc)) from exc
    if not job["completed_at"] or not job["timings"]:
        raise _MissedError(Criterion.LOGGED, "The job does not say when and how it was worked on.")
    stages = ", ".join(sorted(job["timings"]))
    return _met(
        Criterion.LOGGED,
        f"{job['attempts']} attempt, {job['match_count']} match, with times of {stages}.",
    )


async def _erase(server: LiveServer, trial: SmokeTestPair) -> Verdict:
    reason = ""
    for _ in range(_ERASE_TRIES):
        try:
            async with asyncio.timeout(_ERASE_S):
                count = await server.end_trial(trial)
        except (NotAnsweredError, TimeoutError) as exc:
            reason = str(exc)
            continue
        return _met(Criterion.ERASED, f"{count} people, with all that was theirs.")
    return Verdict(
        Criterion.ERASED,
        Outcome.NOT_MET,
        f"{reason} The next `automatch verify` erases them, 15 minutes from now or later.",
    )
