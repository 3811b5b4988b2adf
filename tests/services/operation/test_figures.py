"""Figures that are made in the background: nobody waits, and a failure keeps what was known."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from automatch.errors.store import DatabaseUnavailableError
from automatch.services.operation.figures import Figures

pytestmark = pytest.mark.anyio


async def test_they_are_made_once_and_kept_for_their_life() -> None:
    made = 0
    done = asyncio.Event()

    async def make() -> int:
        nonlocal made
        await done.wait()
        made += 1
        return made

    figures = Figures(make, timedelta(hours=1))
    first, again = figures.latest(), figures.latest()
    assert (first.value, first.is_running, again.is_running) == (None, True, True)
    done.set()
    while figures.latest().is_running:
        await asyncio.sleep(0)

    known = figures.latest()
    assert (known.value, known.is_running, made) == (1, False, 1)
    assert known.at is not None
    figures.renew()
    await asyncio.sleep(0)
    while figures.latest().is_running:
        await asyncio.sleep(0)
    assert figures.latest().value == 2


@pytest.mark.parametrize(
    ("error", "problem"),
    [
        (DatabaseUnavailableError(), DatabaseUnavailableError().message),
        (ZeroDivisionError(), "It failed; the log of the server says why."),
    ],
)
async def test_failure_is_told_beside_what_was_known(error: Exception, problem: str) -> None:
    answers: list[int | Exception] = [7, error]

    async def make() -> int:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    figures = Figures(make, timedelta(hours=1))
    for _ in (1, 2):
        figures.renew()
        while figures.latest().is_running:
            await asyncio.sleep(0)

    known = figures.latest()
    assert (known.value, known.problem, answers) == (7, problem, [])


async def test_closing_ends_what_goes_on() -> None:
    figures: Figures[None] = Figures(lambda: asyncio.sleep(3600), timedelta(hours=1))
    figures.renew()
    await figures.close()

    assert figures._current().is_running is False
