"""Shutdown by signals: the first requests a graceful shutdown, the second forces it."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

from automatch.cli.output.echo import echo

_T = TypeVar("_T")

SIGNALS = (signal.SIGINT, signal.SIGTERM)


@dataclass(frozen=True)
class Shutdown:
    """What the signals of this process have requested so far."""

    requested: asyncio.Event = field(default_factory=asyncio.Event)
    forced: asyncio.Event = field(default_factory=asyncio.Event)

    def on_signal(self) -> None:
        """Request a shutdown, or force it if it was requested before."""
        if self.requested.is_set():
            self.forced.set()
            return
        self.requested.set()
        # Nobody may be there any more to read it.
        with contextlib.suppress(OSError):
            echo("Stopping; a second signal stops at once.", err=True)

    async def wait(self) -> None:
        """Wait until a shutdown is requested."""
        await self.requested.wait()

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


def handle_signals() -> Shutdown:
    """Handle SIGINT (Ctrl-C) and SIGTERM in the running event loop."""
    shutdown = Shutdown()
    loop = asyncio.get_running_loop()
    for number in SIGNALS:
        loop.add_signal_handler(number, shutdown.on_signal)
    return shutdown
