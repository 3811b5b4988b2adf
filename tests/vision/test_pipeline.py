"""Photos analyzed from end to end: decoded, detected, checked, embedded."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np
import psutil
import pytest
from PIL import Image, ImageCms, ImageFilter, PngImagePlugin

from automatch.errors import AutomatchError
from automatch.errors.embedder import EmbeddingInvalidError, ModelDamagedError, ModelMissingError
from automatch.errors.job import DecodeTimeoutError
from automatch.errors.photo import (
    FaceLowConfidenceError,
    FaceTooBrightError,
    FaceTooSmallError,
    SeveralFacesError,
)
from automatch.model.faces import FaceBox, overlap
from automatch.settings import Settings
from automatch.settings.vision import VisionSettings
from automatch.vision import DlibEmbedder, LocalAnalyzer
from automatch.vision.detect.detector import Detection
from automatch.vision.detect.upright import find_upright
from automatch.vision.models.model_files import FACE_RESNET, YUNET, verified
from automatch.vision.pipeline import Pipeline
from automatch.vision.results import Box
from tests.support.embedder import FakeEmbedder
from tests.support.photos import (
    astronaut,
    blank_png,
    encode,
    endless,
    hopper,
    pixels,
    scene_without_face,
    shared_model,
    shared_photo,
    two_people,
    with_scans,
)
from tests.support.turned_head import turned

if TYPE_CHECKING:
    import numpy.typing as npt

    from automatch.vision.decode.decoder import Decoder
    from automatch.vision.detect.detector import Detector

pytestmark = pytest.mark.anyio

_DLIB = DlibEmbedder()
_SETTINGS = Settings(vision=VisionSettings(threads=2))


@pytest.fixture(scope="module")
async def analyzer(anyio_backend: str) -> AsyncIterator[LocalAnalyzer]:
    """Give an analyzer whose embeddings are of no model."""
    async with LocalAnalyzer(_SETTINGS, FakeEmbedder()) as opened:
        yield opened


@pytest.fixture(scope="module")
async def of_dlib(anyio_backend: str) -> AsyncIterator[LocalAnalyzer]:
    async with LocalAnalyzer(_SETTINGS, _DLIB) as opened:
        yield opened


async def test_a_good_photo_gives_a_face_its_quality_and_clean_copies(
    of_dlib: LocalAnalyzer,
) -> None:
    extraction = await of_dlib.extract(encode(astronaut()))

    box = extraction.face.box
    assert 160 < box.left < box.right < 290
    assert 50 < box.top < box.bottom < 190
    assert len(extraction.face.landmarks) == 5
    assert all(
        box.left < x < box.right and box.top < y < box.bottom for x, y in extraction.face.landmarks
    )
    assert extraction.face.embedding.shape == (128,)
    assert extraction.face.embedding.dtype == np.float32
    assert np.linalg.norm(extraction.face.embedding) == pytest.approx(1, abs=1e-6)
    assert extraction.quality["face_side_px"] == max(box.width, box.height)
    assert extraction.quality["confidence"] == pytest.approx(extraction.face.confidence, abs=1e-3)
    assert extraction.quality["inside"] == 1
    assert extraction.quality["yaw_degrees"] < 15
    assert pixels(extraction.kept_jpeg).shape == (512, 512, 3)
    height, width, _ = pixels(extraction.thumbnail).shape
    assert height == width <= 320
    assert set(extraction.timings_ms) == {"decode", "detect", "embed"}
    assert all(took > 0 for took in extraction.timings_ms.values())


def _small() -> Image.Image:
    page = Image.new("RGB", (300, 300), "grey")
    page.paste(astronaut().resize((240, 240)), (30, 30))
    return page


def _refused() -> dict[str, bytes]:
    return {
        "file_empty": b"",
        "image_type_unsupported": b"this is text in a file named photo.jpg",
        "image_too_large_pixels": blank_png(13000, 13000),
        "image_damaged": encode(astronaut())[:20_000],
        "image_too_small": encode(astronaut().resize((100, 100))),
        "image_bad_shape": encode(astronaut().resize((200, 900))),
        "image_too_complex": with_scans(astronaut(), 1000),
        "no_face": encode(scene_without_face()),
        "several_faces": encode(two_people()),
        "face_too_small": encode(_small()),
        "face_blurred": encode(astronaut().filter(ImageFilter.GaussianBlur(3))),
        "face_too_dark": encode(astronaut().point(lambda value: value * 0.12)),
        "face_too_bright": encode(astronaut().point(lambda value: 255 - (255 - value) * 0.1)),
        "face_turned": encode(turned(hopper(), Box(173, 128, 376, 331), 40)),
        "face_cut_off": encode(astronaut().crop((212, 0, 512, 512))),
    }


async def test_each_bad_photo_has_its_own_reason_and_the_next_good_one_works(
    analyzer: LocalAnalyzer,
) -> None:
    messages, files = set(), _refused()
    for code, photo in files.items():
        with pytest.raises(AutomatchError) as caught:
            await analyzer.extract(photo)
        assert caught.value.code == code
        assert not caught.value.transient
        messages.add(caught.value.message)

        assert (await analyzer.extract(encode(astronaut()))).quality["face_side_px"] > 60

    assert len(messages) == len(files)


async def test_a_face_of_too_few_pixels_is_refused_with_its_size(analyzer: LocalAnalyzer) -> None:
    with pytest.raises(FaceTooSmallError, match=r"only [34]\d pixels wide"):
        await analyzer.extract(encode(_small()))


async def test_a_face_that_scores_less_than_asked_is_refused_with_its_score() -> None:
    strict = Settings(vision=VisionSettings(hog_min_confidence=1.5))

    async with LocalAnalyzer(strict, FakeEmbedder()) as analyzer:
        with pytest.raises(FaceLowConfidenceError, match=r"scores 1\.\d\d and at least 1\.5"):
            await analyzer.extract(encode(astronaut()))


async def test_several_faces_come_with_boxes_that_fit_any_copy(analyzer: LocalAnalyzer) -> None:
    with pytest.raises(SeveralFacesError) as caught:
        await analyzer.extract(encode(two_people().resize((1624, 1024))))

    (left, top, right, bottom), second = caught.value.boxes
    assert 0.7 < left < 0.8 < right < 0.95
    assert 0.1 < top < 0.2 < bottom < 0.45
    assert 0.15 < second[0] < second[2] < 0.4


async def _boxes(analyzer: LocalAnalyzer, photo: bytes) -> list[FaceBox]:
    with pytest.raises(SeveralFacesError) as caught:
        await analyzer.extract(photo)
    assert caught.value.copies is not None
    return [FaceBox.of_corners(*box) for box in caught.value.boxes]


async def test_chosen_face_of_several_is_seen_as_if_it_were_alone(of_dlib: LocalAnalyzer) -> None:
    photo = encode(two_people(), quality=95)
    hopper_box, astronaut_box = await _boxes(of_dlib, photo)
    alone = await of_dlib.extract(encode(astronaut(), quality=95))
    chosen = await of_dlib.extract(photo, astronaut_box)
    other = await of_dlib.extract(photo, hopper_box)

    assert chosen.face.embedding @ alone.face.embedding > 0.99
    assert other.face.embedding @ alone.face.embedding < 0.9


async def test_nobody_but_the_chosen_face_is_left_in_what_is_kept(of_dlib: LocalAnalyzer) -> None:
    photo = encode(two_people(), quality=95)
    for chosen in await _boxes(of_dlib, photo):
        extraction = await of_dlib.extract(photo, chosen)
        # One face, at its old place: analyzing it again finds it with and without the answer.
        for again in (
            await of_dlib.extract(extraction.kept_jpeg, chosen),
            await of_dlib.extract(extraction.kept_jpeg),
        ):
            assert again.face.embedding @ extraction.face.embedding > 0.99
        assert pixels(extraction.kept_jpeg).shape == (512, 812, 3)
        thumbnail = pixels(extraction.thumbnail)
        portrait = await of_dlib.extract(encode(Image.fromarray(thumbnail.astype(np.uint8))))
        assert portrait.face.embedding @ extraction.face.embedding > 0.95


async def test_picture_of_a_refused_photo_shows_the_face_at_fault_and_no_other(
    of_dlib: LocalAnalyzer,
) -> None:
    photo = encode(two_people(), quality=95)
    strict = Settings(vision=VisionSettings(max_brightness=10))
    async with LocalAnalyzer(strict, FakeEmbedder()) as analyzer:
        for chosen in await _boxes(of_dlib, photo):
            with pytest.raises(FaceTooBrightError) as caught:
                await analyzer.extract(photo, chosen)
            picture = caught.value.picture
            assert picture is not None
            assert picture.face is not None
            assert overlap(FaceBox.of_corners(*picture.face), chosen) > 0.4
            assert pixels(picture.jpeg).shape == (picture.height, picture.width, 3) == (512, 812, 3)
            # One face is left, or the analyzer would ask whose it is.
            await of_dlib.extract(picture.jpeg)


@pytest.mark.parametrize(("number", "people"), [(1, 2), (2, 3), (3, 2)])
async def test_real_photos_of_several_people_are_refused(
    number: int, people: int, analyzer: LocalAnalyzer
) -> None:
    photo = shared_photo(f"two_people_{number}.jpg")

    with pytest.raises(SeveralFacesError) as caught:
        await analyzer.extract(photo)

    # The second one shows a child behind the two.
    assert caught.value.count == people


async def test_real_portraits_are_accepted(analyzer: LocalAnalyzer) -> None:
    names = "biden_1 biden_2 harington_1 lacamoire_1 lacamoire_2 leslie_1 leslie_2 obama_1 obama_3"
    photos = [shared_photo(f"{name}.jpg") for name in names.split()]
    photos.append(shared_photo("rgba_32bit.png"))

    extractions = await asyncio.gather(*(analyzer.extract(photo) for photo in photos))

    assert all(photo.face.confidence > 0.5 for photo in extractions)


async def test_yunet_sees_where_its_file_is_named() -> None:
    vision = VisionSettings(threads=2, yunet_file=shared_model(YUNET))
    names = [
        "biden_1",
        "biden_2",
        "harington_1",
        "lacamoire_1",
        "leslie_1",
        "obama_1",
        "obama_2",
        "obama_3",
    ]

    async with LocalAnalyzer(Settings(vision=vision), FakeEmbedder()) as analyzer:
        extractions = await asyncio.gather(
            *(analyzer.extract(shared_photo(f"{name}.jpg")) for name in names)
        )
        with pytest.raises(SeveralFacesError):
            await analyzer.extract(encode(two_people()))

    assert all(0.8 < photo.face.confidence <= 1 for photo in extractions)


async def test_a_named_yunet_file_must_be_the_one(tmp_path: Path) -> None:
    file = tmp_path / YUNET
    settings = Settings(vision=VisionSettings(yunet_file=file))

    with pytest.raises(ModelMissingError, match="AUTOMATCH_VISION__YUNET_FILE"):
        async with LocalAnalyzer(settings, FakeEmbedder()):
            pass

    file.write_bytes(b"another model")
    with pytest.raises(ModelDamagedError, match="AUTOMATCH_VISION__YUNET_FILE"):
        async with LocalAnalyzer(settings, FakeEmbedder()):
            pass


async def test_one_picture_in_any_orientation_gives_one_face(of_dlib: LocalAnalyzer) -> None:
    turned = {3: Image.Transpose.ROTATE_180, 6: Image.Transpose.ROTATE_90}
    photos = [encode(hopper(), quality=95)]
    for orientation, turn in turned.items():
        exif = Image.Exif()
        exif[0x0112] = orientation
        photos.append(encode(hopper().transpose(turn), quality=95, exif=exif))

    upright, *others = await _embeddings(of_dlib, photos)

    assert all(upright @ other > 0.99 for other in others)


async def test_one_picture_in_any_kind_of_file_gives_one_face(of_dlib: LocalAnalyzer) -> None:
    deep = Image.fromarray(np.asarray(astronaut().convert("L")).astype(np.uint16) * 257)
    photos = [
        encode(astronaut(), "PNG"),
        encode(astronaut(), "WEBP", quality=90),
        encode(astronaut(), "HEIF", quality=80),
        encode(astronaut(), "AVIF", quality=80),
        encode(astronaut().convert("CMYK"), quality=95),
        encode(astronaut().convert("L")),
        encode(astronaut().quantize(256, Image.Quantize.FASTOCTREE), "PNG"),
        encode(deep, "PNG"),
    ]

    first, *others = await _embeddings(of_dlib, photos)

    assert all(first @ other > 0.98 for other in others)


async def _embeddings(
    analyzer: LocalAnalyzer, photos: list[bytes]
) -> list[npt.NDArray[np.float32]]:
    return [(await analyzer.extract(photo)).face.embedding for photo in photos]


async def test_photos_side_by_side_do_not_mix(analyzer: LocalAnalyzer) -> None:
    people = [encode(astronaut()), encode(hopper())]
    alone = [(await analyzer.extract(photo)).face.embedding for photo in people]

    together = await asyncio.gather(*(analyzer.extract(people[turn % 2]) for turn in range(24)))

    for turn, extraction in enumerate(together):
        assert np.array_equal(extraction.face.embedding, alone[turn % 2])


async def test_a_cancelled_photo_holds_up_none_that_follow(analyzer: LocalAnalyzer) -> None:
    photo = encode(astronaut())
    await analyzer.extract(photo)
    waiting = [asyncio.create_task(analyzer.extract(photo)) for _ in range(20)]
    await asyncio.sleep(0)
    for task in waiting:
        task.cancel()
    outcomes = await asyncio.gather(*waiting, return_exceptions=True)

    assert all(isinstance(outcome, asyncio.CancelledError) for outcome in outcomes)
    assert (await analyzer.extract(photo)).kept_jpeg


async def test_leaving_ends_the_children_even_at_work() -> None:
    slow = Settings(vision=VisionSettings(threads=1, max_scans=10_000))
    before = _children()
    async with LocalAnalyzer(slow, FakeEmbedder()) as analyzer:
        await analyzer.extract(encode(astronaut()))
        assert len(_children() - before) == 1
        running = asyncio.create_task(analyzer.extract(endless()))
        await asyncio.sleep(0)

    assert _children() == before
    assert isinstance((await asyncio.gather(running, return_exceptions=True))[0], BaseException)


def _children() -> set[int]:
    return {child.pid for child in psutil.Process().children()}


def _with_everything(kind: str) -> bytes:
    exif = Image.Exif()
    exif[0x010E] = "SECRET-DESCRIPTION"
    exif.get_ifd(0x8825)[1] = "SECRET-GPS"
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    more: dict[str, object] = {"comment": b"SECRET-COMMENT", "xmp": b"<x:xmpmeta SECRET-XMP/>"}
    if kind == "PNG":
        text = PngImagePlugin.PngInfo()
        text.add_text("Comment", "SECRET-COMMENT")
        text.add_itxt("XML:com.adobe.xmp", "<x:xmpmeta SECRET-XMP/>")
        more = {"pnginfo": text}
    return encode(astronaut(), kind, exif=exif, icc_profile=profile, **more)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "HEIF", "AVIF"])
async def test_nothing_but_pixels_is_kept(kind: str, analyzer: LocalAnalyzer) -> None:
    photo = _with_everything(kind)
    assert photo.count(b"SECRET") >= 3

    extraction = await analyzer.extract(photo)

    for trace in (b"SECRET", b"Exif", b"xmp", b"http", b"ICC_PROFILE", b"Photoshop", b"mdat"):
        assert trace not in extraction.kept_jpeg
        assert trace not in extraction.thumbnail


class _Glance:
    """A detector whose first search is sure of one face and has only a guess of another."""

    name, landmark_set, min_confidence, upright_confidence = "glance", "eye_corners_nose", 0.2, 1.95

    def find(self, _photo: npt.NDArray[np.uint8]) -> list[Detection]:
        return [Detection(Box(0, 0, 90, 90), 2.0), Detection(Box(200, 0, 260, 60), 0.15)]

    def find_all(self, _photo: npt.NDArray[np.uint8], _min_side: int) -> list[Detection]:
        return [Detection(Box(202, 0, 264, 62), 1.5), Detection(Box(2, 2, 88, 88), 1.9)]


def test_a_face_that_only_the_closer_look_is_sure_of_counts() -> None:
    pipeline = Pipeline(
        cast("Decoder", None), cast("Detector", _Glance()), FakeEmbedder(), _SETTINGS.vision
    )
    photo = np.zeros((100, 300, 3), np.uint8)

    with pytest.raises(SeveralFacesError, match=r"^2 faces"):
        pipeline._choose(pipeline._find(photo).detections, photo)


def test_a_large_photo_with_a_certain_face_is_searched_once() -> None:
    class Large(_Glance):
        upright_confidence = 1.5

        def find(self, _photo: npt.NDArray[np.uint8]) -> list[Detection]:
            raise AssertionError("searched again")

        def find_all(self, photo: npt.NDArray[np.uint8], min_side: int) -> list[Detection]:
            return super().find_all(photo, min_side)[::-1]

    pipeline = Pipeline(
        cast("Decoder", None), cast("Detector", Large()), FakeEmbedder(), _SETTINGS.vision
    )

    found = pipeline._find(np.zeros((100, 300, 3), np.uint8))

    assert (found.turned, len(found.detections)) == (False, 2)


def test_turns_behind_the_one_that_is_certain_are_not_searched() -> None:
    searched: list[tuple[int, ...]] = []

    class Sideways(_Glance):
        def find(self, photo: npt.NDArray[np.uint8]) -> list[Detection]:
            searched.append(photo.shape)
            return super().find(photo) if photo.shape[0] > photo.shape[1] else []

        def find_small(self, _photo: npt.NDArray[np.uint8]) -> list[Detection]:
            return []

    photo = np.zeros((100, 300, 3), np.uint8)

    assert find_upright(cast("Detector", Sideways()), photo)[0] == 1
    assert searched == [(100, 300, 3), (300, 100, 3)]


async def test_the_first_photo_finds_its_decoder_running() -> None:
    async with LocalAnalyzer(_SETTINGS, FakeEmbedder()) as analyzer:
        (ready,) = [decoder.child_pid for decoder in analyzer._decoders]
        assert ready

        await analyzer.extract(encode(astronaut()))

        assert [decoder.child_pid for decoder in analyzer._decoders] == [ready]


async def test_a_timeout_of_the_decoder_reaches_the_caller() -> None:
    hasty = Settings(vision=VisionSettings(decode_timeout_s=0.000_001))

    async with LocalAnalyzer(hasty, FakeEmbedder()) as analyzer:
        # Too large to be decoded before anybody looks at the time.
        photo = encode(astronaut().resize((4096, 4096)))
        with pytest.raises(DecodeTimeoutError):
            await analyzer.extract(photo)


async def test_a_missing_model_is_found_on_entering(tmp_path: Path) -> None:
    with pytest.raises(ModelMissingError, match=FACE_RESNET):
        async with LocalAnalyzer(_SETTINGS, DlibEmbedder(folder=tmp_path)):
            pass


async def test_a_model_with_one_wrong_bit_is_refused_on_entering(tmp_path: Path) -> None:
    model = bytearray(verified(FACE_RESNET).read_bytes())
    model[10_000_000] ^= 1
    (tmp_path / FACE_RESNET).write_bytes(model)

    with pytest.raises(ModelDamagedError):
        async with LocalAnalyzer(_SETTINGS, DlibEmbedder(folder=tmp_path)):
            pass


class _Broken(FakeEmbedder):
    """Keeps its promise until it is told to give something else."""

    then: npt.NDArray[np.float32] | None = None

    def embed(self, chips: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        return super().embed(chips) if self.then is None else self.then


async def test_a_broken_embedding_never_leaves() -> None:
    embedder = _Broken()
    async with LocalAnalyzer(_SETTINGS, embedder) as analyzer:
        for then in (
            np.full((1, 128), np.nan, np.float32),
            np.full((1, 128), np.inf, np.float32),
            np.zeros((1, 128), np.float32),
            np.ones((1, 128), np.float32),
            np.ones((1, 1), np.float32),
            np.empty((0, 128), np.float32),
        ):
            embedder.then = then
            with pytest.raises(EmbeddingInvalidError) as caught:
                await analyzer.extract(encode(astronaut()))

            assert caught.value.transient
