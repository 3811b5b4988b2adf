"""A worker process whose made-up model does what a test needs.

    python -m tests.support.scripted_worker MODE

- `instant`: makes a face up for each photo without a look at it, and starts in half the time.
- `blocking`: the same, but it logs "extraction started" for each photo, and waits for a line on
  its stdin.
- `crashing`: kills its process at the photo of a blue face, as the kernel would without memory.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import threading
from unittest.mock import patch

import numpy as np
import structlog

from automatch.cli.runtime.logging_setup import configure_logging
from automatch.model.faces import FaceBox
from automatch.settings import load_settings
from automatch.settings.secrets import load_or_create
from automatch.vision import Embedder, FaceExtraction, LocalAnalyzer
from automatch.vision.results import DetectedFace
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
        self._stdin_lock = threading.Lock()
        noise = np.random.default_rng(os.getpid()).standard_normal(_DIMENSIONS)
        direction = np.ones(_DIMENSIONS) + 0.02 * noise
        self._embedding = (direction / np.linalg.norm(direction)).astype(np.float32)

    def embed(self, chips: np.ndarray) -> np.ndarray:
        self._run_script(chips)
        return np.tile(self._embedding, (len(chips), 1))

    def _run_script(self, chips: np.ndarray) -> None:
        if self._mode == "blocking":
            log.info("extraction started")
            with self._stdin_lock:
                sys.stdin.readline()
        red, _, blue = chips.reshape(-1, 3).mean(axis=0)
        if self._mode == "crashing" and blue > red:
            os.kill(os.getpid(), signal.SIGKILL)


class BlindAnalyzer(LocalAnalyzer):
    """Loads nothing, and finds the embedder's face in every photo."""

    def _load(self) -> None:
        pass

    def _extract(
        self, photo: bytes, chosen: FaceBox | None, embedder: Embedder, enforce_quality: bool
    ) -> FaceExtraction:
        (embedding,) = embedder.embed(np.zeros((1, 1, 1, 3), np.uint8))
        face = DetectedFace((0, 0, 9, 9), 1.0, np.zeros((5, 2)), embedding)
        return FaceExtraction(face, {"sharpness": 1.0}, photo, photo, {"embed": 1.0})


async def main(mode: str) -> None:
    settings = load_settings()
    configure_logging(settings)
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    secrets = load_or_create(settings.home)
    # Whoever crashes takes as long before as a photo does: other jobs are released meanwhile.
    analyzer = LocalAnalyzer if mode == "crashing" else BlindAnalyzer
    with patch("automatch.worker_app.LocalAnalyzer", analyzer):
        async with open_worker(settings, secrets, ScriptedEmbedder(mode)) as worker:
            running = asyncio.create_task(worker.run())
            stopping = asyncio.create_task(stop.wait())
            await asyncio.wait({running, stopping}, return_when=asyncio.FIRST_COMPLETED)
            worker.stop()
            await running


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
