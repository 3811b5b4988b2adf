"""Shutdown by signals: the first requests a graceful shutdown, the second forces it.

A process may be given a limit for all of its shutdown, in which it waits for many things: for a
database that does not answer each of them takes its own time-out, one after the other.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

from automatch.cli.output.echo import echo

_T = TypeVar("_T")

SIGNALS = (signal.SIGINT, signal.SIGTERM)
STOP_S = 10.0
"""Seconds in which a server has stopped."""


@dataclass(frozen=True)
class Shutdown:
    """What the signals of this process have requested so far."""

    requested: asyncio.Event = field(default_factory=asyncio.Event)
    forced: asyncio.Event = field(default_factory=asyncio.Event)
    limit_s: float | None = None
    """Seconds after which the process exits, from the first signal or `limit` on."""
    _limited: threading.Event = field(default_factory=threading.Event)

    def on_signal(self) -> None:
        """Request a shutdown, or force it if it was requested before."""
        if self.requested.is_set():
            self.forced.set()
            return
        self.requested.set()
        self.limit()
        # Nobody may be there any more to read it.
        with contextlib.suppress(OSError):
            echo("Stopping; a second signal stops at once.", err=True)

    async def wait(self) -> None:
        """Wait until a shutdown is requested."""
        await self.requested.wait()

    def limit(self) -> None:
        """End the process in `limit_s`, if it has not ended by itself.

        What it has not released comes back as from a process that was killed.
        """
        if self.limit_s is None or self._limited.is_set():
            return
        self._limited.set()
        # A thread, which also sees an event loop that stands still; a daemon, which keeps nobody.
        timer = threading.Timer(self.limit_s, _exit, [self.limit_s])
        timer.daemon = True
        timer.start()

    async def wait_for(self, task: asyncio.Task[_T], force: Callable[[], None]) -> _T:
        """Wait until *task* ends; call *force* if the shutdown is forced before that."""
        forced = asyncio.create_task(self.forced.wait())
        try:
            await asyncio.wait({task, forced}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            forced.cancel()
        if not task.done():
            force()
        return await task


def _exit(seconds: float) -> None:
    # Not above: `--help` imports this module, and needs no log.
    import structlog

    structlog.get_logger(__name__).error("not stopped in time; exiting", seconds=seconds)
    os._exit(1)


def handle_signals(limit_s: float | None = None) -> Shutdown:
    """Handle SIGINT (Ctrl-C) and SIGTERM in the running event loop."""
    shutdown = Shutdown(limit_s=limit_s)
    loop = asyncio.get_running_loop()
    for number in SIGNALS:
        loop.add_signal_handler(number, shutdown.on_signal)
    return shutdown
