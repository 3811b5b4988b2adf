"""What the upload handler learns from a file's first bytes."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

from automatch.errors import (
    AutomatchError,
    FileEmptyError,
    ImageBadShapeError,
    ImageDamagedError,
    ImageTooComplexError,
    ImageTooLargeError,
    ImageTooSmallError,
    ImageTypeError,
    PhotoRejectedError,
)
from automatch.settings import Settings, UploadSettings
from automatch.vision.header import check_header, limits_from
from tests.support.photos import blank_png, encode, multi_picture, with_scans

if TYPE_CHECKING:
    from automatch.vision.image_file import Limits


@pytest.fixture
def limits() -> Limits:
    return limits_from(Settings())


def _grey(width: int = 320, height: int = 240) -> Image.Image:
    return Image.new("RGB", (width, height), "grey")


@pytest.mark.parametrize(
    ("photo", "kind"),
    [
        (encode(_grey()), "jpeg"),
        (encode(_grey(), progressive=True), "jpeg"),
        (encode(_grey().convert("CMYK")), "jpeg"),
        (multi_picture(_grey(), _grey()), "jpeg"),
        (encode(_grey(), "PNG"), "png"),
        (encode(_grey(), "WEBP"), "webp"),
        (encode(_grey(), "WEBP", lossless=True), "webp"),
        (encode(_grey(), "WEBP", exif=b"Exif\x00\x00II*\x00\x08\x00\x00\x00\x00\x00"), "webp"),
        (encode(_grey(), "WEBP", save_all=True, append_images=[_grey()]), "webp"),
    ],
)
def test_type_and_size_come_from_the_bytes(photo: bytes, kind: str, limits: Limits) -> None:
    assert check_header(photo, limits) == kind

    with pytest.raises(ImageTooSmallError, match="320 x 240"):
        check_header(photo, limits_from(Settings(upload=UploadSettings(min_side=241))))


def test_an_empty_file_is_named_as_such(limits: Limits) -> None:
    with pytest.raises(FileEmptyError):
        check_header(b"", limits)


@pytest.mark.parametrize(
    "data",
    [
        b"this is not a photo, whatever its name ends with",
        b"%PDF-1.7\n",
        b"%!PS-Adobe-3.0 EPSF-3.0\n",
        b"<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>",
        b"PK\x03\x04",
        b"\x00\x00\x00\x18ftypheic\x00\x00\x00\x00mif1heic",
        b"\x00\x00\x00\x18ftypavif\x00\x00\x00\x00mif1avif",
        b"RIFF\x24\x00\x00\x00WAVEfmt ",
        b"\xff\xd8",
        b"\x00",
        encode(_grey(), "GIF"),
        encode(_grey(), "BMP"),
        encode(_grey(), "TIFF"),
    ],
)
def test_other_types_are_refused(data: bytes, limits: Limits) -> None:
    with pytest.raises(ImageTypeError):
        check_header(data, limits)


def test_a_small_file_of_very_many_pixels_is_refused(limits: Limits) -> None:
    photo = blank_png(13000, 13000)
    assert len(photo) < 30_000

    with pytest.raises(ImageTooLargeError, match=r"169\.0 megapixels"):
        check_header(photo, limits)


@pytest.mark.parametrize(
    ("width", "height", "error"),
    [
        (1, 1, ImageTooSmallError),
        (159, 400, ImageTooSmallError),
        (160, 641, ImageBadShapeError),
        (9000, 400, ImageBadShapeError),
        (0, 400, ImageDamagedError),
    ],
)
def test_size_and_shape_have_limits(
    width: int, height: int, error: type[AutomatchError], limits: Limits
) -> None:
    photo = bytearray(encode(_grey(), "PNG"))
    photo[16:24] = struct.pack(">II", width, height)

    with pytest.raises(error):
        check_header(bytes(photo), limits)


def test_a_photo_on_the_edge_of_the_limits_passes(limits: Limits) -> None:
    assert check_header(encode(_grey(160, 640), "PNG"), limits) == "png"


def test_a_jpeg_of_many_scans_is_refused(limits: Limits) -> None:
    assert check_header(with_scans(_grey(), 30), limits) == "jpeg"

    with pytest.raises(ImageTooComplexError):
        check_header(with_scans(_grey(), 1000), limits)


def test_a_film_behind_the_picture_does_not_count_as_scans(limits: Limits) -> None:
    film = np.random.default_rng(1).bytes(20_000) + b"\xff\xda\x00\x02" * 500

    assert check_header(encode(_grey()) + film, limits) == "jpeg"


@pytest.mark.parametrize("filler", [b"\xff\xfe\x00\x02", b"\xff", b"\xff\x00", b"\xff\xd0"])
def test_a_jpeg_of_endless_segments_is_refused(filler: bytes, limits: Limits) -> None:
    photo = encode(_grey())
    assert check_header(photo[:2] + filler * 20 + photo[2:], limits) == "jpeg"

    with pytest.raises(ImageTooComplexError):
        check_header(photo[:2] + filler * 100_000 + photo[2:], limits)


def _outcome(data: bytes, limits: Limits) -> str:
    try:
        return check_header(data, limits)
    except (ImageTypeError, PhotoRejectedError) as exc:
        return exc.message


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_no_header_gives_another_exception(kind: str, limits: Limits) -> None:
    whole = encode(_grey(), kind)
    rng = np.random.default_rng(7)
    for _ in range(2000):
        data = bytearray(whole[: rng.integers(1, len(whole) + 1)])
        for at in rng.integers(len(data), size=rng.integers(8)):
            data[at] = rng.integers(256)

        assert _outcome(bytes(data), limits)


def test_no_garbage_behind_a_magic_gives_another_exception(limits: Limits) -> None:
    rng = np.random.default_rng(8)
    for magic in (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"RIFF\x00\x00\x00\x00WEBPVP8X"):
        for length in (0, 1, 2, 3, 5, 20, 1000, 100_000):
            for filler in (rng.bytes(length), b"\xff" * length, b"\x00" * length):
                with pytest.raises(PhotoRejectedError):
                    check_header(magic + filler, limits)
