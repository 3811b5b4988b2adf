"""Hashing of passwords: slow by design, so only a few at once, and few that wait."""

from __future__ import annotations

import asyncio
import os
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cached_property
from typing import Protocol

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from automatch.errors.request import PasswordsBusyError

_AT_ONCE = 2
"""Each hash takes 64 MiB."""


_NICENESS = 10


def _give_way() -> None:
    # On Linux the priority is a thread's own, and the threads that Argon2 starts inherit it.
    if sys.platform == "linux":
        thread = threading.get_native_id()
        # Where all of the process gives way already, only root may take some of that back.
        niceness = max(_NICENESS, os.getpriority(os.PRIO_PROCESS, thread))
        os.setpriority(os.PRIO_PROCESS, thread, niceness)


class Hasher(Protocol):
    """The two functions of `argon2.PasswordHasher` that are used."""

    def hash(self, password: str | bytes) -> str:
        """Return the hash of a password."""
        ...

    def verify(self, hash: str | bytes, password: str | bytes) -> bool:  # noqa: A002  as argon2 names it
        """Return True, or raise `VerificationError` or `InvalidHashError`."""
        ...


class PasswordQueue:
    """Hashes passwords, at most two at once, for those who have a place.

    The threads give way to all other requests: a flood of wrong passwords slows sign-ins alone.

    One network address may have half of the places, so that a flood from there leaves room for
    others. Somebody who signed in from their address before (`source` is None) does not wait among
    strangers: they have as many places of their own.
    """

    def __init__(self, max_waiting: int, hasher: Hasher | None = None) -> None:
        """Let *max_waiting* passwords wait.

        The default hasher is Argon2id with the low-memory parameters of RFC 9106.
        """
        self._max_waiting = max_waiting
        self._hasher = hasher or PasswordHasher()
        self._strangers: Counter[str] = Counter()
        self._known = 0

    async def hash(self, password: str) -> str:
        """Return the hash of a new password; for whoever has a place."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, self._hasher.hash, password)

    async def verify(self, password: str, encrypted: str | None) -> bool:
        """Tell whether a password is right; takes equally long without an account (None)."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, self._verify, password, encrypted)

    def has_place(self, source: str) -> bool:
        """Return whether there is a place for a stranger from this address."""
        return (
            self._strangers.total() < self._max_waiting
            and self._strangers[source] < (self._max_waiting + 1) // 2
        )

    @cached_property
    def _threads(self) -> ThreadPoolExecutor:
        return ThreadPoolExecutor(_AT_ONCE, "passwords", initializer=_give_way)

    @contextmanager
    def place(self, source: str | None) -> Iterator[None]:
        """Hold a place for somebody from a network address, or (None) for somebody known.

        Raises:
            PasswordsBusyError: all places are taken.
        """
        if source is None:
            if self._known >= self._max_waiting:
                raise PasswordsBusyError
            self._known += 1
            try:
                yield
            finally:
                self._known -= 1
            return
        if not self.has_place(source):
            raise PasswordsBusyError
        self._strangers[source] += 1
        try:
            yield
        finally:
            self._strangers[source] -= 1
            if not self._strangers[source]:
                del self._strangers[source]

    def _verify(self, password: str, encrypted: str | None) -> bool:
        if encrypted is None:
            self._hasher.hash(password)
            return False
        try:
            return self._hasher.verify(encrypted, password)
        except InvalidHashError:
            # An imported account has no password, which must not show in the time either.
            self._hasher.hash(password)
            return False
        except VerificationError:
            return False
