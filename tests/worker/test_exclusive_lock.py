"""The room: many together, or one alone."""

from __future__ import annotations

import asyncio

import pytest

from automatch.worker.exclusive_lock import Room

pytestmark = pytest.mark.anyio


class Visitor:
    def __init__(self, room: Room, *, alone: bool = False) -> None:
        self.inside, self.leave = asyncio.Event(), asyncio.Event()
        self.task = asyncio.create_task(self._visit(room, alone))

    async def _visit(self, room: Room, alone: bool) -> None:
        async with room.enter(alone=alone):
            self.inside.set()
            await self.leave.wait()

    async def go(self) -> None:
        self.leave.set()
        await self.task


async def _settle() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


async def test_many_are_inside_together() -> None:
    room = Room()
    visitors = [Visitor(room) for _ in range(3)]

    for visitor in visitors:
        await visitor.inside.wait()
    for visitor in visitors:
        await visitor.go()


async def test_who_has_to_be_alone_waits_for_all_and_lets_nobody_in() -> None:
    room = Room()
    first = Visitor(room)
    await first.inside.wait()
    alone = Visitor(room, alone=True)
    await _settle()
    late = Visitor(room)
    await _settle()
    assert not alone.inside.is_set()
    assert not late.inside.is_set(), "who waits to be alone is next"

    await first.go()
    await alone.inside.wait()
    await _settle()
    assert not late.inside.is_set()

    await alone.go()
    await late.inside.wait()
    await late.go()


async def test_two_who_have_to_be_alone_come_one_after_the_other() -> None:
    room = Room()
    one, two = Visitor(room, alone=True), Visitor(room, alone=True)
    await one.inside.wait()
    await _settle()
    assert not two.inside.is_set()

    await one.go()
    await two.inside.wait()
    await two.go()


async def test_who_gives_up_waiting_to_be_alone_lets_the_others_in() -> None:
    room = Room()
    first = Visitor(room)
    await first.inside.wait()
    alone = Visitor(room, alone=True)
    await _settle()
    late = Visitor(room)
    alone.task.cancel()

    await late.inside.wait()
    await first.go()
    await late.go()
