"""A worker with a made-up model that can be held up, or dies of a photo.

    python -m tests.support.odd_worker HOW

- `quick`: sees at once.
- `held`: says "asked" in its log when it looks at a photo, and sees it after a line on its stdin.
- `mortal`: kills its process, as the kernel would for want of memory, at the photo of a blue face.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import threading

import numpy as np
import structlog

from automatch.app import open_worker
from automatch.cli.runtime.logging_setup import configure_logging
from automatch.settings import load_settings
from automatch.settings.secrets import load_or_create
from tests.support.embedder import FakeEmbedder

_DIMENSIONS = 128

log = structlog.get_logger(__name__)


class OddEmbedder(FakeEmbedder):
    """All faces look alike to it, a little differently to each process."""

    model_id = "dlib"
    dimensions = _DIMENSIONS

    def __init__(self, how: str) -> None:
        self._how = how
        self._warm = False
        self._turn = threading.Lock()
        tilt = np.random.default_rng(os.getpid()).standard_normal(_DIMENSIONS)
        direction = np.ones(_DIMENSIONS) + 0.02 * tilt
        self._row = (direction / np.linalg.norm(direction)).astype(np.float32)

    def embed(self, chips: np.ndarray) -> np.ndarray:
        # The first call is the worker trying its model before it claims anything.
        if self._warm:
            self._look(chips)
        self._warm = True
        return np.tile(self._row, (len(chips), 1))

    def _look(self, chips: np.ndarray) -> None:
        if self._how == "held":
            log.info("asked")
            with self._turn:
                sys.stdin.readline()
        red, _, blue = chips.reshape(-1, 3).mean(axis=0)
        if self._how == "mortal" and blue > red:
            os.kill(os.getpid(), signal.SIGKILL)


async def main(how: str) -> None:
    settings = load_settings()
    configure_logging(settings)
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    async with open_worker(settings, load_or_create(settings.home), OddEmbedder(how)) as worker:
        working = asyncio.create_task(worker.run())
        stopping = asyncio.create_task(stop.wait())
        await asyncio.wait({working, stopping}, return_when=asyncio.FIRST_COMPLETED)
        worker.stop()
        await working


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
