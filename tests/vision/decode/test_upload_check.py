"""What the upload handler learns from a file's first bytes."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

from automatch.errors import AutomatchError
from automatch.errors.photo import (
    ImageBadShapeError,
    ImageDamagedError,
    ImageTooComplexError,
    ImageTooLargeError,
    ImageTooSmallError,
    PhotoRejectedError,
)
from automatch.errors.upload import FileEmptyError, ImageTypeError
from automatch.settings import Settings
from automatch.settings.server import UploadSettings
from automatch.vision.decode.upload_check import check_header, is_costly, limits_from
from tests.support.photo_cases import jpeg_that_claims
from tests.support.photos import blank_png, encode, multi_picture, with_scans
from tests.support.tiled_heic import tiled_heic

if TYPE_CHECKING:
    from collections.abc import Callable

    from automatch.vision.decode.image_header import Limits


@pytest.fixture
def limits() -> Limits:
    return limits_from(Settings())


def _grey(width: int = 320, height: int = 240) -> Image.Image:
    return Image.new("RGB", (width, height), "grey")


@pytest.mark.parametrize(
    ("make", "kind"),
    [
        (lambda: encode(_grey()), "jpeg"),
        (lambda: encode(_grey(), progressive=True), "jpeg"),
        (lambda: encode(_grey().convert("CMYK")), "jpeg"),
        (lambda: multi_picture(_grey(), _grey()), "jpeg"),
        (lambda: encode(_grey(), "PNG"), "png"),
        (lambda: encode(_grey(), "WEBP"), "webp"),
        (lambda: encode(_grey(), "WEBP", lossless=True), "webp"),
        (
            lambda: encode(_grey(), "WEBP", exif=b"Exif\x00\x00II*\x00\x08\x00\x00\x00\x00\x00"),
            "webp",
        ),
        (lambda: encode(_grey(), "WEBP", save_all=True, append_images=[_grey()]), "webp"),
        (lambda: encode(_grey(), "HEIF"), "heif"),
        (lambda: encode(_grey(), "HEIF", tile_size=128), "heif"),
        (lambda: encode(_grey(), "AVIF"), "avif"),
        (lambda: encode(_grey(), "AVIF", save_all=True, append_images=[_grey()]), "avif"),
    ],
)
def test_type_and_size_come_from_the_bytes(
    make: Callable[[], bytes], kind: str, limits: Limits
) -> None:
    photo = make()

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
        b"\x00\x00\x00\x18ftypisom\x00\x00\x00\x00isommp41",
        b"\x00\x00\x00\x18ftypmif1\x00\x00\x00\x00mif1jpeg",
        b"\x00\x00\x00\x10ftypmif1\x00\x00\x00\x00heic",
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


def _claiming(jpeg: bytes, width: int, height: int) -> bytes:
    frame = jpeg.index(b"\xff\xc2")
    return jpeg[: frame + 5] + struct.pack(">HH", height, width) + jpeg[frame + 9 :]


@pytest.mark.parametrize(
    ("extra", "width", "height", "accepted"),
    [
        (0, 8160, 6144, True),
        (4, 8160, 6144, True),
        (38, 8160, 6144, False),
        (38, 4000, 3000, True),
        (38, 6000, 4000, False),
    ],
)
def test_a_jpeg_of_many_pixels_may_have_fewer_scans(
    extra: int, width: int, height: int, accepted: bool, limits: Limits
) -> None:
    photo = _claiming(with_scans(_grey(), extra), width, height)

    if accepted:
        assert check_header(photo, limits) == "jpeg"
        return
    with pytest.raises(ImageTooComplexError):
        check_header(photo, limits)


@pytest.mark.parametrize(
    ("make", "accepted"),
    [
        (lambda: tiled_heic(256, 2, (512, 512)), True),
        (lambda: tiled_heic(512, 14, (7000, 7000)), True),
        (lambda: tiled_heic(1024, 12, (500, 500)), False),
        (lambda: tiled_heic(256, 6, (500, 500), levels=2), True),
        (lambda: tiled_heic(256, 8, (500, 500), levels=3), False),
        (lambda: tiled_heic(64, 2, (160, 160), levels=6), False),
        (lambda: tiled_heic(64, 33, (2000, 2000)), False),
    ],
    ids=["small", "as-large-as-allowed", "overlapping", "nested", "deep", "too-deep", "many"],
)
def test_tiles_may_have_no_more_pixels_than_two_photos(
    make: Callable[[], bytes], accepted: bool, limits: Limits
) -> None:
    photo = make()

    if accepted:
        assert check_header(photo, limits) == "heif"
        return
    with pytest.raises(ImageTooComplexError):
        check_header(photo, limits)


@pytest.mark.parametrize(
    ("make", "costly"),
    [
        (lambda: jpeg_that_claims(4000, 3000), False),
        (lambda: jpeg_that_claims(8160, 6144), False),
        (lambda: _claiming(with_scans(_grey(), 4), 8160, 6144), True),
        (lambda: _claiming(with_scans(_grey(), 0), 4000, 3000), False),
        (lambda: encode(_grey(), "HEIF"), False),
        (lambda: tiled_heic(512, 8, (4000, 4000)), False),
        (lambda: tiled_heic(512, 14, (7000, 7000)), True),
        (lambda: tiled_heic(512, 14, (500, 500)), True),
        (lambda: blank_png(4000, 3000), False),
        (lambda: blank_png(7000, 7000), True),
    ],
)
def test_what_takes_long_to_decode_is_known_before(
    make: Callable[[], bytes], costly: bool, limits: Limits
) -> None:
    photo = make()

    check_header(photo, limits)

    assert is_costly(photo) == costly
    assert not is_costly(photo[:20])


def test_endless_properties_of_tiles_are_refused(limits: Limits) -> None:
    photo = tiled_heic(256, 2, (512, 512))
    links = photo.index(b"ipma")
    size = int.from_bytes(photo[links - 4 : links], "big")
    assert check_header(photo, limits) == "heif"

    for name, grown in (("iprp", 70_000), ("meta", 70_000)):
        at = photo.index(name.encode()) - 4
        length = int.from_bytes(photo[at : at + 4], "big") + grown
        photo = photo[:at] + struct.pack(">I", length) + photo[at + 4 :]
    photo = photo[: links - 4] + struct.pack(">I", size + 70_000) + photo[links:]
    end = links - 4 + size
    with pytest.raises(ImageTooComplexError):
        check_header(photo[:end] + bytes(70_000) + photo[end:], limits)


def test_a_film_behind_the_picture_does_not_count_as_scans(limits: Limits) -> None:
    film = np.random.default_rng(1).bytes(20_000) + b"\xff\xda\x00\x02" * 500

    assert check_header(encode(_grey()) + film, limits) == "jpeg"


@pytest.mark.parametrize("filler", [b"\xff\xfe\x00\x02", b"\xff", b"\xff\x00", b"\xff\xd0"])
def test_a_jpeg_of_endless_segments_is_refused(filler: bytes, limits: Limits) -> None:
    photo = encode(_grey())
    assert check_header(photo[:2] + filler * 20 + photo[2:], limits) == "jpeg"

    with pytest.raises(ImageTooComplexError):
        check_header(photo[:2] + filler * 100_000 + photo[2:], limits)


def _box(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", 8 + len(body)) + name + body


def _heic(*sizes: tuple[int, int], before: bytes = b"") -> bytes:
    """Return a HEIC that has nothing but sizes of pictures."""
    properties = b"".join(_box(b"ispe", struct.pack(">III", 0, *size)) for size in sizes)
    meta = _box(b"iprp", _box(b"ipco", before + properties))
    brands = _box(b"ftyp", b"heic\0\0\0\0mif1heic")
    return brands + _box(b"meta", bytes(4) + meta)


def test_a_heic_is_as_large_as_its_largest_picture(limits: Limits) -> None:
    assert check_header(_heic((160, 120), (4032, 3024), (512, 512)), limits) == "heif"

    with pytest.raises(ImageTooLargeError, match=r"49000\.0 megapixels"):
        check_header(_heic((512, 512), (70_000, 700_000)), limits)


@pytest.mark.parametrize(
    "data",
    [
        _heic(),
        _heic((512, 512))[:-12],
        _heic((512, 512)).replace(b"ipco", b"ipcx"),
        _heic((512, 512)).replace(b"iprp", b"iprx"),
        _heic((512, 512)).replace(b"meta", b"mdat"),
        _heic((512, 512), before=struct.pack(">I", 7) + b"free"),
    ],
)
def test_a_heic_without_sizes_is_damaged(data: bytes, limits: Limits) -> None:
    with pytest.raises(ImageDamagedError):
        check_header(data, limits)


def test_a_heic_of_endless_boxes_is_refused(limits: Limits) -> None:
    free = _box(b"free", b"")
    assert check_header(_heic((512, 512), before=free * 20), limits) == "heif"

    for photo in (_heic((512, 512), before=free * 5000), _heic() + free * 5000):
        with pytest.raises((ImageTooComplexError, ImageDamagedError)):
            check_header(photo, limits)


def test_boxes_of_64_bit_length_and_to_the_end_are_read(limits: Limits) -> None:
    whole = _heic((512, 512))
    meta = whole[24 + 8 :]
    long = struct.pack(">I4sQ", 1, b"meta", 16 + len(meta)) + meta
    rest = struct.pack(">I4s", 0, b"meta") + meta

    assert check_header(whole[:24] + long, limits) == "heif"
    assert check_header(whole[:24] + rest, limits) == "heif"


def _outcome(data: bytes, limits: Limits) -> str:
    try:
        return check_header(data, limits)
    except (ImageTypeError, PhotoRejectedError) as exc:
        return exc.message


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "HEIF", "AVIF"])
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
    heic = b"\x00\x00\x00\x18ftypheic\x00\x00\x00\x00mif1heic"
    magics = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"RIFF\x00\x00\x00\x00WEBPVP8X", heic)
    for magic in magics:
        for length in (0, 1, 2, 3, 5, 20, 1000, 100_000):
            for filler in (rng.bytes(length), b"\xff" * length, b"\x00" * length):
                with pytest.raises(PhotoRejectedError):
                    check_header(magic + filler, limits)
