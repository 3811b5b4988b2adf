"""Passwords are hashed two at a time, few wait, and a flood of strangers keeps nobody out."""

from __future__ import annotations

import asyncio
import os
import sys
import threading
from collections import Counter

import pytest

from automatch.errors.request import PasswordsBusyError
from automatch.services.accounts.password_queue import PasswordQueue

pytestmark = pytest.mark.anyio


class SlowHasher:
    """A hasher that goes on when it is told to."""

    def __init__(self) -> None:
        self.go_on = threading.Event()
        self.two_run = threading.Event()
        self.running = 0
        self.most_running = 0
        self._lock = threading.Lock()

    def hash(self, password: str | bytes) -> str:
        with self._lock:
            self.running += 1
            self.most_running = max(self.running, self.most_running)
            if self.running == 2:
                self.two_run.set()
        assert self.go_on.wait(60)
        with self._lock:
            self.running -= 1
        return f"hash of {password!r}"

    def verify(self, hash: str | bytes, password: str | bytes) -> bool:  # noqa: A002  as argon2 names it
        return self.hash(password) == hash


async def _verify(
    passwords: PasswordQueue, password: str, encrypted: str, source: str | None
) -> bool:
    with passwords.place(source):
        return await passwords.verify(password, encrypted)


async def _started(*calls: object) -> None:
    """Let tasks run until they wait for a thread."""
    for _ in range(len(calls) + 10):
        await asyncio.sleep(0)


async def test_two_at_a_time_and_few_wait_so_that_an_honest_sign_in_gets_through() -> None:
    hasher = SlowHasher()
    passwords = PasswordQueue(8, hasher)
    bad = [
        asyncio.create_task(_verify(passwords, "wrong", "another hash", "192.0.2.1"))
        for _ in range(200)
    ]
    await _started(*bad)
    from_elsewhere = asyncio.create_task(_verify(passwords, "new", "hash of 'new'", "192.0.2.2"))
    known = asyncio.create_task(_verify(passwords, "right", "hash of 'right'", None))
    await _started(from_elsewhere, known)
    assert await asyncio.to_thread(hasher.two_run.wait, 60)
    hasher.go_on.set()
    ended = await asyncio.gather(*bad, return_exceptions=True)

    assert Counter(map(repr, ended)) == {"False": 4, repr(PasswordsBusyError()): 196}
    assert await from_elsewhere is True
    assert await known is True
    assert hasher.most_running == 2
    # All places are free again.
    assert await _verify(passwords, "right", "hash of 'right'", "192.0.2.1")


async def test_places_of_all_strangers_and_of_all_known_people_are_bounded() -> None:
    hasher = SlowHasher()
    passwords = PasswordQueue(4, hasher)
    waiting = [
        asyncio.create_task(_verify(passwords, "x", "y", source))
        for source in [f"192.0.2.{number}" for number in range(6)] + [None] * 6
    ]
    await _started(*waiting)
    hasher.go_on.set()
    ended = await asyncio.gather(*waiting, return_exceptions=True)

    places = [not isinstance(end, PasswordsBusyError) for end in ended]
    assert places == ([True] * 4 + [False] * 2) * 2


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere a thread has no priority of its own")
@pytest.mark.parametrize(("own", "hashing"), [(0, 10), (15, 15)], ids=["usual", "nice process"])
async def test_hashing_gives_way_to_other_requests(own: int, hashing: int) -> None:
    class Niceness(SlowHasher):
        def hash(self, password: str | bytes) -> str:
            return str(os.getpriority(os.PRIO_PROCESS, threading.get_native_id()))

    least = os.getpriority(os.PRIO_PROCESS, 0)

    def hash_beside() -> str:
        # A thread has the priority of the one that starts it.
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), max(own, least))
        return asyncio.run(PasswordQueue(8, Niceness()).hash("secret"))

    assert int(await asyncio.to_thread(hash_beside)) == max(hashing, least)


async def test_hash_is_as_slow_as_it_should_be() -> None:
    hashed = await PasswordQueue(8).hash("secret")

    # The second choice of RFC 9106.
    assert hashed.startswith("$argon2id$v=19$m=65536,t=3,p=4$")
