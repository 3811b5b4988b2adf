"""The local and the remote analyzer: the same answers, the same refusals."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable

import numpy as np
import pytest
from PIL import Image

from automatch.errors import AutomatchError
from automatch.errors.photo import FaceUnclearError, SeveralFacesError
from automatch.settings import Settings
from automatch.settings.server import UploadSettings
from automatch.settings.vision import VisionSettings
from automatch.vision import Embedder, FaceExtraction, LocalAnalyzer, RemoteAnalyzer
from tests.support.ai import remote_analyzer, running_ai
from tests.support.photo_cases import friend_behind
from tests.support.photos import (
    astronaut,
    encode,
    endless,
    hopper,
    scene_without_face,
    two_people,
)

pytestmark = pytest.mark.anyio

_SETTINGS = Settings(vision=VisionSettings(threads=1))
_GOOD: dict[str, Callable[[], bytes]] = {
    "a portrait": lambda: encode(astronaut()),
    "another": lambda: encode(hopper()),
    "a PNG": lambda: encode(astronaut(), "PNG"),
    "a HEIC": lambda: encode(hopper(), "HEIF"),
    "a large one": lambda: encode(astronaut().resize((2400, 2400))),
}
_BAD: dict[str, tuple[str, Callable[[], bytes]]] = {
    "nothing": ("file_empty", lambda: b""),
    "no photo": ("image_type_unsupported", lambda: b"hello" * 1000),
    "half a photo": ("image_damaged", lambda: encode(astronaut())[:9000]),
    "a stamp": ("image_too_small", lambda: encode(astronaut().resize((100, 100)))),
    "a strip": ("image_bad_shape", lambda: encode(Image.new("RGB", (2000, 200)))),
    "too many pixels": (
        "image_too_large_pixels",
        lambda: encode(Image.new("1", (8000, 8000)), "PNG"),
    ),
    "too many scans": ("image_too_complex", endless),
    "no face": ("no_face", lambda: encode(scene_without_face())),
    "two people": ("several_faces", lambda: encode(two_people())),
    "darkness": ("face_too_dark", lambda: encode(astronaut().point(lambda value: value * 0.12))),
    "a small face": ("face_too_small", lambda: encode(_far_away())),
}


def _far_away() -> Image.Image:
    page = Image.new("RGB", (300, 300), "grey")
    page.paste(astronaut().resize((240, 240)), (30, 30))
    return page


@pytest.fixture(scope="module")
async def local(anyio_backend: str, embedder: Embedder) -> AsyncIterator[LocalAnalyzer]:
    async with LocalAnalyzer(_SETTINGS, embedder) as analyzer:
        yield analyzer


@pytest.fixture(scope="module")
async def remote(anyio_backend: str, embedder: Embedder) -> AsyncIterator[RemoteAnalyzer]:
    async with (
        running_ai(_SETTINGS, embedder) as client,
        remote_analyzer(str(client.base_url), _SETTINGS) as analyzer,
    ):
        await analyzer.ready()
        yield analyzer


@pytest.mark.parametrize("name", _GOOD)
async def test_both_extract_the_same(
    name: str, local: LocalAnalyzer, remote: RemoteAnalyzer
) -> None:
    photo = _GOOD[name]()

    here, there = await local.extract(photo), await remote.extract(photo)

    assert isinstance(there, FaceExtraction)
    assert there.face.box == here.face.box
    assert there.face.landmarks == here.face.landmarks
    assert there.face.confidence == here.face.confidence
    np.testing.assert_allclose(there.face.embedding, here.face.embedding, atol=1e-6)
    assert there.face.embedding.dtype == np.float32
    assert there.quality == here.quality
    assert there.kept_jpeg == here.kept_jpeg
    assert there.thumbnail == here.thumbnail
    assert set(there.timings_ms) == set(here.timings_ms)


@pytest.mark.parametrize("name", _BAD)
async def test_both_refuse_for_the_same_reason(
    name: str, local: LocalAnalyzer, remote: RemoteAnalyzer
) -> None:
    code, make = _BAD[name]
    photo = make()

    here, there = [await _refusal(analyzer, photo) for analyzer in (local, remote)]

    assert here.code == code
    assert type(there) is type(here)
    assert there.message == here.message
    assert not there.transient
    if isinstance(here, SeveralFacesError):
        assert isinstance(there, SeveralFacesError)
        assert (there.count, there.boxes) == (here.count, here.boxes)
    if isinstance(here, FaceUnclearError):
        assert isinstance(there, FaceUnclearError)
        assert (there.measured, there.limit) == (here.measured, here.limit)


async def test_whoever_asks_judges_by_their_own_settings(embedder: Embedder) -> None:
    strict = Settings(vision=VisionSettings(threads=1, min_face_side=400))
    async with (
        running_ai(_SETTINGS, embedder) as client,
        remote_analyzer(str(client.base_url), strict) as analyzer,
    ):
        await analyzer.ready()
        refusal = await _refusal(analyzer, encode(astronaut()))

    assert refusal.code == "face_too_small"


async def test_whoever_is_too_small_by_their_own_settings_is_neither_asked_about_nor_shown(
    embedder: Embedder,
) -> None:
    photo, strict = friend_behind(0.4), VisionSettings(threads=1, min_face_side=150)
    async with (
        running_ai(_SETTINGS, embedder) as client,
        remote_analyzer(str(client.base_url), Settings(vision=strict)) as remote,
        LocalAnalyzer(_SETTINGS, embedder) as local,
    ):
        await remote.ready()
        extraction = await remote.extract(photo)

        again = await local.extract(extraction.kept_jpeg)

    assert again.face.box == extraction.face.box
    assert extraction.face.box.width > 150


async def test_a_service_that_is_too_busy_to_decode_is_asked_again_later(
    embedder: Embedder,
) -> None:
    hasty = Settings(vision=VisionSettings(threads=1, decode_timeout_s=0.000_001))
    async with (
        running_ai(hasty, embedder) as client,
        remote_analyzer(str(client.base_url), _SETTINGS) as analyzer,
    ):
        await analyzer.ready()
        # Too large to be there before the service begins to wait for it.
        refusal = await _refusal(analyzer, encode(astronaut().resize((4096, 4096))))

    assert (refusal.code, refusal.transient) == ("decode_timeout", True)
    assert analyzer.is_ready


async def test_limits_of_the_service_hold_too(embedder: Embedder) -> None:
    small = Settings(upload=UploadSettings(max_bytes=20_000), vision=VisionSettings(threads=1))
    async with (
        running_ai(small, embedder) as client,
        remote_analyzer(str(client.base_url), _SETTINGS) as analyzer,
    ):
        await analyzer.ready()
        refusal = await _refusal(analyzer, encode(astronaut()))

    assert refusal.code == "body_too_large"
    assert analyzer.is_ready


async def _refusal(analyzer: LocalAnalyzer | RemoteAnalyzer, photo: bytes) -> AutomatchError:
    with pytest.raises(AutomatchError) as caught:
        await analyzer.extract(photo)
    return caught.value
