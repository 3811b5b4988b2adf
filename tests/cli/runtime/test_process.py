"""The exit code of a process of which a part ends, and errors with a sentence of their own."""

from __future__ import annotations

import asyncio
import gc

import pytest

from automatch.background import PartEndedError
from automatch.cli.runtime.process import keep_start, run_until_stopped
from automatch.errors.store import DatabaseUnavailableError


@pytest.mark.parametrize("ended", [PartEndedError("heartbeat"), asyncio.CancelledError()])
def test_process_of_which_a_part_ends_exits_with_1(ended: BaseException) -> None:
    async def main() -> None:
        raise ended

    with pytest.raises(SystemExit) as exited:
        run_until_stopped(main())

    assert exited.value.code == 1


def test_what_the_start_has_made_is_not_looked_through_again() -> None:
    made: list[list[int]] = [[] for _ in range(1000)]
    try:
        keep_start()
        looked_through = {id(each) for each in gc.get_objects()}
    finally:
        gc.unfreeze()

    assert looked_through.isdisjoint(map(id, made))
    assert {id(each) for each in gc.get_objects()}.issuperset(map(id, made))


def test_error_with_a_sentence_is_the_command_s_to_print() -> None:
    async def main() -> None:
        raise DatabaseUnavailableError

    with pytest.raises(DatabaseUnavailableError):
        run_until_stopped(main())
