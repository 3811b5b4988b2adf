"""How a process is told to stop: the first signal asks for order, the second for haste."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

import typer

_T = TypeVar("_T")

SIGNALS = (signal.SIGINT, signal.SIGTERM)


@dataclass(frozen=True)
class Stopping:
    """What the signals of this process have asked for so far."""

    asked: asyncio.Event = field(default_factory=asyncio.Event)
    hurried: asyncio.Event = field(default_factory=asyncio.Event)

    def on_signal(self) -> None:
        """Stop; at once when it was asked for before."""
        if self.asked.is_set():
            self.hurried.set()
            return
        self.asked.set()
        typer.echo("Stopping; a second signal stops at once.", err=True)

    async def hasten(self, work: asyncio.Task[_T], hurry: Callable[[], None]) -> _T:
        """Wait for *work* to end; call *hurry* once, if haste is asked for before it has."""
        waiting = asyncio.create_task(self.hurried.wait())
        try:
            await asyncio.wait({work, waiting}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            waiting.cancel()
        if not work.done():
            hurry()
        return await work


def stop_on_signals() -> Stopping:
    """Take Ctrl-C and SIGTERM over from the running loop."""
    stopping = Stopping()
    loop = asyncio.get_running_loop()
    for number in SIGNALS:
        loop.add_signal_handler(number, stopping.on_signal)
    return stopping
