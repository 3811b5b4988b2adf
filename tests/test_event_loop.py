"""The event loop does nothing that takes long: it would hold up everybody else."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from automatch.services.photos import photos
from automatch.settings import Settings
from automatch.settings.vision import VisionSettings
from automatch.vision import remote_analyzer
from automatch.vision.schemas import PhotoFaces
from automatch.worker import run
from tests.support.ai import remote_analyzer as open_remote_analyzer
from tests.support.ai import running_ai
from tests.support.embedder import FakeEmbedder
from tests.support.photos import astronaut, encode
from tests.support.system import System

pytestmark = pytest.mark.anyio

Watch = Callable[[Any, str], list[bool]]


async def test_a_photo_is_hashed_and_its_header_read_in_threads(
    system: System, watched: Watch
) -> None:
    at_the_door, by_the_worker = watched(photos, "examine"), watched(run, "is_costly")
    person = await system.join()

    await person.matched(encode(astronaut()))

    assert (at_the_door, by_the_worker) == ([True], [True])


async def test_an_answer_of_the_ai_service_is_made_and_read_in_threads(watched: Watch) -> None:
    settings = Settings(vision=VisionSettings(threads=1))
    calls = [
        watched(PhotoFaces, "of"),
        watched(PhotoFaces, "model_dump_json"),
        watched(PhotoFaces, "model_validate_json"),
        watched(remote_analyzer, "_extraction"),
    ]
    async with (
        running_ai(settings, FakeEmbedder()) as ai,
        open_remote_analyzer(str(ai.base_url), settings, FakeEmbedder.model_id) as analyzer,
    ):
        await analyzer.ready()
        await analyzer.extract(encode(astronaut()))

    assert calls == [[True]] * 4
