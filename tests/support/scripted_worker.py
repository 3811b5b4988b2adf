"""A worker process whose made-up model does what a test needs.

    python -m tests.support.scripted_worker MODE

- `fast`: embeds at once.
- `blocking`: logs "extraction started" for each photo, and embeds it after a line on its stdin.
- `crashing`: kills its process at the photo of a blue face, as the kernel would without memory.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import threading

import numpy as np
import structlog

from automatch.cli.runtime.logging_setup import configure_logging
from automatch.settings import load_settings
from automatch.settings.secrets import load_or_create
from automatch.worker_app import open_worker
from tests.support.embedder import FakeEmbedder

_DIMENSIONS = 128

log = structlog.get_logger(__name__)


class ScriptedEmbedder(FakeEmbedder):
    """Gives all faces nearly the same embedding, a slightly different one in each process."""

    model_id = "dlib"
    dimensions = _DIMENSIONS

    def __init__(self, mode: str) -> None:
        self._mode = mode
        self._is_warm = False
        self._stdin_lock = threading.Lock()
        noise = np.random.default_rng(os.getpid()).standard_normal(_DIMENSIONS)
        direction = np.ones(_DIMENSIONS) + 0.02 * noise
        self._embedding = (direction / np.linalg.norm(direction)).astype(np.float32)

    def embed(self, chips: np.ndarray) -> np.ndarray:
        # The first call is the worker trying its model before it claims anything.
        if self._is_warm:
            self._run_script(chips)
        self._is_warm = True
        return np.tile(self._embedding, (len(chips), 1))

    def _run_script(self, chips: np.ndarray) -> None:
        if self._mode == "blocking":
            log.info("extraction started")
            with self._stdin_lock:
                sys.stdin.readline()
        red, _, blue = chips.reshape(-1, 3).mean(axis=0)
        if self._mode == "crashing" and blue > red:
            os.kill(os.getpid(), signal.SIGKILL)


async def main(mode: str) -> None:
    settings = load_settings()
    configure_logging(settings)
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    secrets = load_or_create(settings.home)
    async with open_worker(settings, secrets, ScriptedEmbedder(mode)) as worker:
        running = asyncio.create_task(worker.run())
        stopping = asyncio.create_task(stop.wait())
        await asyncio.wait({running, stopping}, return_when=asyncio.FIRST_COMPLETED)
        worker.stop()
        await running


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
