"""Whatever file comes, the answer is a photo or a code, and the worker stays as it is."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from automatch.errors import AutomatchError
from automatch.errors.photo import PhotoRejectedError
from automatch.errors.upload import ImageTypeError
from automatch.settings import Settings
from automatch.settings.vision import VisionSettings
from automatch.vision import LocalAnalyzer
from automatch.vision.decode.decoder import Decoder
from automatch.vision.decode.upload_check import check_header, limits_from
from tests.support.bad_files import bad_files
from tests.support.embedder import FakeEmbedder
from tests.support.photos import astronaut, encode, hopper

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = pytest.mark.anyio

_USABLE = {
    "a JPEG with a ZIP behind it",
    "a JPEG with a page in its comment",
    "a JPEG with a PNG behind it",
    "a PNG with a JPEG behind it",
    "a multi-picture cut in its second picture",
}
"""Odd, and yet a photo is all there."""


@pytest.fixture(scope="module")
def corpus() -> dict[str, bytes]:
    """Give the files by name; made when they are needed, because they take much memory."""
    return dict(bad_files())


@pytest.fixture(scope="module")
def decoder() -> Iterator[Decoder]:
    decoder = Decoder(Settings())
    yield decoder
    decoder.close()


def _outcome(act: Callable[[], object]) -> str:
    try:
        act()
    except (PhotoRejectedError, ImageTypeError) as exc:
        return exc.code
    return "usable"


@pytest.mark.timeout(300)
def test_a_bad_file_gets_a_reason_and_the_next_photo_is_decoded(
    corpus: dict[str, bytes], decoder: Decoder, subtests: pytest.Subtests
) -> None:
    good = encode(astronaut())
    for name, data in corpus.items():
        with subtests.test(name):
            outcome = _outcome(lambda data=data: decoder.decode(data))

            assert outcome == "usable" or name not in _USABLE
            assert decoder.decode(good).shape == (512, 512, 3)


def test_the_header_check_never_refuses_what_can_be_decoded(
    corpus: dict[str, bytes], decoder: Decoder
) -> None:
    limits = limits_from(Settings())
    for name, data in corpus.items():
        at_the_door = _outcome(lambda data=data: check_header(data, limits))
        if at_the_door != "usable":
            assert _outcome(lambda data=data: decoder.decode(data)) == at_the_door, name


def _by_three(files: list[bytes]) -> Iterator[list[bytes]]:
    for start in range(0, len(files), 3):
        yield files[start : start + 3]


@pytest.mark.timeout(300)
async def test_bad_files_at_once_cost_no_good_photo(corpus: dict[str, bytes]) -> None:
    good = encode(hopper().resize((256, 300)))
    async with LocalAnalyzer(
        Settings(vision=VisionSettings(threads=2)), FakeEmbedder()
    ) as analyzer:
        # One of four is good; the kinds of bad files follow one another, and all are tried above.
        some = list(corpus.values())[::3]
        mixed = [file for three in _by_three(some) for file in (*three, good)]
        outcomes = await asyncio.gather(*map(analyzer.extract, mixed), return_exceptions=True)

    for file, outcome in zip(mixed, outcomes, strict=True):
        if isinstance(outcome, BaseException):
            assert file is not good
            assert isinstance(outcome, AutomatchError)
            assert not outcome.transient
