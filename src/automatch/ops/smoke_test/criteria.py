"""The guide's success criteria in its order, each met or with the reason why not."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
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

_IMMEDIATE_MS = 2000.0
"""Longer means that the answer waited for the search."""
_POLL_S = 0.1
_MAX_MATCHES = 20
_CLEANUP_ATTEMPTS = 3
_CLEANUP_TIMEOUT_S = 30.0


class Criterion(StrEnum):
    """The success criteria of the guide; the last is our own."""

    ANSWERED = "Upload is answered with 202 immediately"
    PENDING = "Job appears in match_jobs with status pending"
    COMPLETED = "Within 60 seconds its status is completed"
    MATCHED = "Matches appear (0 to 20)"
    LIVE = "Live feed updates without a refresh"
    ELIGIBLE = "Matches are of the same school and the opposite gender"
    LOGGED = "Logs show the processing"
    CLEANED_UP = "The two people of the smoke test are deleted"


class Outcome(StrEnum):
    """Whether a criterion is met."""

    MET = "met"
    NOT_MET = "not met"
    NOT_TRIED = "not tried"


@dataclass(frozen=True, slots=True)
class Verdict:
    """The outcome of a criterion."""

    criterion: Criterion
    outcome: Outcome
    message: str
    took_ms: float | None = None

    @property
    def is_met(self) -> bool:
        return self.outcome is Outcome.MET


class _NotMetError(Exception):
    """A criterion is not met; those after it are not tried."""

    def __init__(self, criterion: Criterion, message: str) -> None:
        super().__init__(message)
        self.criterion = criterion
        self.message = message


async def verify(
    server: LiveServer,
    photos: tuple[bytes, bytes],
    report: Callable[[Verdict], None],
    *,
    within_s: float = 60,
) -> None:
    """Try every criterion with two temporary people; *report* gets each verdict at once.

    The two are deleted in any case, also when this is cancelled, which is a criterion too.
    """
    reported: set[Criterion] = set()

    def record(verdict: Verdict) -> None:
        reported.add(verdict.criterion)
        report(verdict)

    pair: SmokeTestPair | None = None
    try:
        pair = await _create_pair(server)
        await _try_criteria(server, pair, photos, record, within_s)
    except _NotMetError as exc:
        record(Verdict(exc.criterion, Outcome.NOT_MET, exc.message))
        for criterion in Criterion:
            if criterion not in reported and criterion is not Criterion.CLEANED_UP:
                report(Verdict(criterion, Outcome.NOT_TRIED, "An earlier criterion is not met."))
    finally:
        if pair is not None:
            report(await _delete_pair(server, pair))


@contextmanager
def _answers_required(criterion: Criterion) -> Iterator[None]:
    """Turn a request without a proper answer into *criterion* not being met."""
    try:
        yield
    except NotAnsweredError as exc:
        raise _NotMetError(criterion, str(exc)) from exc


async def _create_pair(server: LiveServer) -> SmokeTestPair:
    with _answers_required(Criterion.ANSWERED):
        return await server.create_pair()


async def _try_criteria(
    server: LiveServer,
    pair: SmokeTestPair,
    photos: tuple[bytes, bytes],
    report: Callable[[Verdict], None],
    within_s: float,
) -> None:
    her_upload = await _upload(server, pair.her, photos[0])
    report(_met(Criterion.ANSWERED, f"202 after {her_upload.took_ms:.0f} ms.", her_upload.took_ms))
    report(await _pending(server, her_upload))
    report(await _completed(server, her_upload, within_s))

    opened = asyncio.Event()
    watching = asyncio.create_task(_first_match_at(server, pair, opened))
    try:
        await _wait_until_open(watching, opened, within_s)
        began = time.perf_counter()
        his_upload = await _upload(server, pair.him, photos[1])
        await _completed(server, his_upload, within_s)
        found = await _matched(server, pair, his_upload)
        message = f"{len(found[0])} in her feed and {len(found[1])} in his."
        report(_met(Criterion.MATCHED, message))
        report(await _live(watching, began, within_s))
    finally:
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)
    report(_eligible(pair, *found))
    report(await _logged(server, his_upload))


def _met(criterion: Criterion, message: str, took_ms: float | None = None) -> Verdict:
    return Verdict(criterion, Outcome.MET, message, took_ms)


async def _upload(server: LiveServer, person: Person, photo: bytes) -> Upload:
    with _answers_required(Criterion.ANSWERED):
        await server.consent(person)
        upload = await server.upload(person, photo)
    if upload.status != 202:
        raise _NotMetError(Criterion.ANSWERED, f"The answer was {upload.status}.")
    if upload.took_ms > _IMMEDIATE_MS:
        raise _NotMetError(Criterion.ANSWERED, f"202, but only after {upload.took_ms:.0f} ms.")
    return upload


async def _pending(server: LiveServer, upload: Upload) -> Verdict:
    with _answers_required(Criterion.PENDING):
        job = await server.job(upload.job_id)
    if upload.job_status != "pending":
        raise _NotMetError(
            Criterion.PENDING, f"The upload answered that it is {upload.job_status}."
        )
    now = "" if job["status"] == "pending" else f", and is now {job['status']}"
    return _met(Criterion.PENDING, f"Its job exists and was pending{now}.")


async def _completed(server: LiveServer, upload: Upload, within_s: float) -> Verdict:
    began = time.perf_counter()
    while True:
        with _answers_required(Criterion.COMPLETED):
            job = await server.job(upload.job_id)
        took_s = time.perf_counter() - began
        if job["status"] == "completed":
            took_ms = took_s * 1000 + upload.took_ms
            return _met(Criterion.COMPLETED, f"After {took_ms:.0f} ms.", took_ms)
        if job["status"] == "failed":
            error = job["error"] or {"code": "unknown", "message": ""}
            raise _NotMetError(
                Criterion.COMPLETED, f"It failed: {error['code']}: {error['message']}"
            )
        if took_s > within_s:
            raise _NotMetError(Criterion.COMPLETED, await _delay_reason(server, job, within_s))
        await asyncio.sleep(_POLL_S)


async def _delay_reason(server: LiveServer, job: dict[str, Any], within_s: float) -> str:
    state = f"It is still {job['status']} after {within_s:g} s"
    if job["error"]:
        return f"{state}; the last attempt ended with {job['error']['code']}."
    try:
        queue = await server.queue()
    except NotAnsweredError:
        return f"{state}."
    if queue["paused"]:
        return f"{state}: the queue is paused (`automatch jobs resume`)."
    if job["status"] == "pending" and not queue["processing"]:
        return f"{state}: no worker claimed it. Is one running (`automatch doctor`)?"
    return f"{state}; jobs waiting: {queue['waiting']}, processing: {queue['processing']}."


async def _first_match_at(server: LiveServer, pair: SmokeTestPair, opened: asyncio.Event) -> float:
    """Return the `perf_counter` time at which he appears in her live feed."""
    async with server.stream(pair.her) as events:
        async for kind, data in events:
            if kind == "ready":
                opened.set()
            elif kind == "match" and data["profile"]["id"] == pair.him.id:
                return time.perf_counter()
    raise NotAnsweredError("The live feed ended.")


async def _wait_until_open(
    watching: asyncio.Task[float], opened: asyncio.Event, within_s: float
) -> None:
    waiting = asyncio.create_task(opened.wait())
    try:
        await asyncio.wait(
            {watching, waiting}, timeout=within_s, return_when=asyncio.FIRST_COMPLETED
        )
    finally:
        waiting.cancel()
    if watching.done() and (exc := watching.exception()) is not None:
        raise _NotMetError(Criterion.LIVE, str(exc))
    if not opened.is_set() and not watching.done():
        raise _NotMetError(Criterion.LIVE, f"The live feed sent nothing for {within_s:g} s.")


async def _matched(
    server: LiveServer, pair: SmokeTestPair, his_upload: Upload
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    with _answers_required(Criterion.MATCHED):
        hers, his = await server.matches(pair.her), await server.matches(pair.him)
        job = await server.job(his_upload.job_id)
    if not hers or not his:
        raise _NotMetError(
            Criterion.MATCHED,
            "Two similar faces did not match. The guide allows 0 matches, but these two "
            f"should: his job says {job['match_count']}. Is the threshold too high "
            "(`automatch threshold`)?",
        )
    if max(len(hers), len(his)) > _MAX_MATCHES:
        raise _NotMetError(Criterion.MATCHED, f"{len(hers)} and {len(his)}, more than 20.")
    return hers, his


async def _live(watching: asyncio.Task[float], began: float, within_s: float) -> Verdict:
    await asyncio.wait({watching}, timeout=within_s)
    if not watching.done():
        raise _NotMetError(
            Criterion.LIVE,
            f"The match exists, but the open feed did not receive it within {within_s:g} s. Does a "
            "proxy buffer text/event-stream?",
        )
    if (exc := watching.exception()) is not None:
        raise _NotMetError(Criterion.LIVE, str(exc))
    took_ms = (watching.result() - began) * 1000
    return _met(Criterion.LIVE, f"{took_ms:.0f} ms from his upload to her feed.", took_ms)


def _eligible(
    pair: SmokeTestPair, hers: list[dict[str, Any]], his: list[dict[str, Any]]
) -> Verdict:
    for matches, other in ((hers, pair.him), (his, pair.her)):
        profiles = [match["profile"] for match in matches]
        if any(
            profile["school"] != pair.school or profile["id"] != other.id for profile in profiles
        ):
            raise _NotMetError(
                Criterion.ELIGIBLE,
                "A match is of another school or of the same gender.",
            )
    return _met(Criterion.ELIGIBLE, "She found him, he found her, and no one else.")


async def _logged(server: LiveServer, upload: Upload) -> Verdict:
    with _answers_required(Criterion.LOGGED):
        job = await server.job(upload.job_id)
    if not job["completed_at"] or not job["timings"]:
        raise _NotMetError(
            Criterion.LOGGED, "The job lacks its times or the timings of its stages."
        )
    stages = ", ".join(sorted(job["timings"]))
    return _met(
        Criterion.LOGGED,
        f"{job['attempts']} attempt, {job['match_count']} match, with timings of {stages}.",
    )


async def _delete_pair(server: LiveServer, pair: SmokeTestPair) -> Verdict:
    reason = ""
    for _ in range(_CLEANUP_ATTEMPTS):
        try:
            async with asyncio.timeout(_CLEANUP_TIMEOUT_S):
                count = await server.delete_pair(pair)
        except (NotAnsweredError, TimeoutError) as exc:
            reason = str(exc)
            continue
        return _met(Criterion.CLEANED_UP, f"{count} people, with all their data.")
    return Verdict(
        Criterion.CLEANED_UP,
        Outcome.NOT_MET,
        f"{reason} The next `automatch verify` deletes them, 15 minutes from now or later.",
    )
