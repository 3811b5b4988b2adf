"""What the decoder makes of good, odd and damaged photos, with its real child process."""

from __future__ import annotations

import struct
import zlib
from functools import cache
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

from automatch.errors.photo import ImageDamagedError, PhotoRejectedError
from automatch.settings import Settings
from automatch.settings.vision import VisionSettings
from automatch.vision.decode.decoder import Decoder
from tests.support.photos import astronaut, encode, hopper, multi_picture, png_chunk

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_KINDS = ["JPEG", "PNG", "WEBP", "HEIF", "AVIF"]
_TURNS = {
    1: None,
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}


@pytest.fixture(scope="module")
def decoder() -> Iterator[Decoder]:
    decoder = Decoder(Settings())
    yield decoder
    decoder.close()


def _difference(photo: np.ndarray, image: Image.Image) -> float:
    """Return the mean difference of two pictures in steps of 256."""
    expected = np.asarray(image.convert("RGB")).astype(int)
    assert photo.shape == expected.shape
    return float(np.abs(photo.astype(int) - expected).mean())


def _see_through(image: Image.Image) -> Image.Image:
    image = image.convert("RGBA")
    image.paste((0, 0, 0, 0), (0, 0, 100, 100))
    return image


def _grey() -> Image.Image:
    return astronaut().convert("L")


@cache
def _of_palette(colours: int) -> Image.Image:
    return astronaut().quantize(colours, Image.Quantize.FASTOCTREE)


def _16_bits() -> Image.Image:
    return Image.fromarray(np.asarray(astronaut().convert("L")).astype(np.uint16) * 257)


def _16_bits_of_each_colour() -> bytes:
    rows = np.asarray(astronaut()).astype(">u2") * 257
    packed = zlib.compress(b"".join(b"\0" + row.tobytes() for row in rows))
    header = struct.pack(">IIBBBBB", 512, 512, 16, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        png_chunk(name, data)
        for name, data in ((b"IHDR", header), (b"IDAT", packed), (b"IEND", b""))
    )


def _tiles(image: Image.Image) -> bytes:
    """Return a HEIC put together from small pictures, as a phone makes it."""
    return encode(image, "HEIF", quality=95, tile_size=128)


@pytest.mark.parametrize(
    ("make", "picture", "tolerance"),
    [
        (lambda: encode(astronaut(), quality=95), astronaut, 3),
        (lambda: encode(astronaut(), quality=95, progressive=True), astronaut, 3),
        (lambda: encode(astronaut(), quality=95, keep_rgb=True), astronaut, 3),
        (lambda: encode(astronaut().convert("CMYK"), quality=95), astronaut, 3),
        (lambda: encode(astronaut().convert("L"), quality=95), _grey, 3),
        (lambda: multi_picture(astronaut(), hopper()), astronaut, 5),
        (lambda: encode(astronaut(), "PNG"), astronaut, 0),
        (lambda: encode(astronaut().convert("RGBA"), "PNG"), astronaut, 0),
        (lambda: encode(astronaut().convert("L"), "PNG"), _grey, 0),
        (lambda: encode(astronaut().convert("LA"), "PNG"), _grey, 0),
        (lambda: encode(_16_bits(), "PNG"), _grey, 1),
        (_16_bits_of_each_colour, astronaut, 1),
        (lambda: encode(_of_palette(256), "PNG"), lambda: _of_palette(256), 0),
        (lambda: encode(_of_palette(4), "PNG", bits=2), lambda: _of_palette(4), 0),
        (lambda: encode(astronaut().convert("1"), "PNG"), lambda: astronaut().convert("1"), 0),
        (lambda: encode(astronaut(), "WEBP", quality=95), astronaut, 4),
        (lambda: encode(astronaut(), "WEBP", lossless=True), astronaut, 0),
        (lambda: encode(astronaut().convert("RGBA"), "WEBP", lossless=True), astronaut, 0),
        (lambda: encode(astronaut(), "HEIF", quality=95), astronaut, 4),
        (lambda: encode(astronaut().convert("RGBA"), "HEIF", quality=95), astronaut, 4),
        (lambda: encode(astronaut().convert("L"), "HEIF", quality=95), _grey, 4),
        (lambda: _tiles(astronaut()), astronaut, 4),
        (lambda: encode(astronaut(), "AVIF", quality=95), astronaut, 4),
        (lambda: encode(astronaut().convert("RGBA"), "AVIF", quality=95), astronaut, 4),
        (lambda: encode(astronaut().convert("L"), "AVIF", quality=95), _grey, 4),
    ],
    ids=[
        *(
            "jpeg",
            "progressive",
            "rgb-jpeg",
            "cmyk",
            "grey-jpeg",
            "multi-picture",
            "png",
            "rgba",
            "grey",
        ),
        *(
            "grey-alpha",
            "16-bit",
            "16-bit-rgb",
            "palette",
            "2-bit",
            "1-bit",
            "webp",
            "webp-lossless",
            "webp-alpha",
        ),
        *("heic", "heic-alpha", "heic-grey", "heic-tiles", "avif", "avif-alpha", "avif-grey"),
    ],
)
def test_every_kind_of_file_gives_its_picture(
    make: Callable[[], bytes],
    picture: Callable[[], Image.Image],
    tolerance: float,
    decoder: Decoder,
) -> None:
    decoded, expected = decoder.decode(make()), picture()

    assert _difference(decoded, expected) <= tolerance


@pytest.mark.parametrize(
    "make",
    [
        lambda: encode(_see_through(astronaut()), "PNG"),
        lambda: encode(_see_through(astronaut()), "WEBP", lossless=True),
        lambda: encode(_see_through(astronaut()), "HEIF", quality=-1),
        lambda: encode(_see_through(astronaut()), "AVIF", quality=100),
        lambda: encode(_see_through(astronaut()).convert("LA"), "PNG"),
        lambda: encode(_see_through(astronaut()).quantize(64), "PNG"),
        lambda: encode(Image.new("L", (200, 200), 7), "PNG", transparency=7),
        lambda: encode(Image.new("1", (200, 200), 0), "PNG", transparency=0),
    ],
    ids=["rgba", "webp", "heic", "avif", "grey-alpha", "palette", "grey-key", "1-bit-key"],
)
def test_what_is_transparent_becomes_white(make: Callable[[], bytes], decoder: Decoder) -> None:
    corner = decoder.decode(make())[:90, :90]

    assert (corner == 255).all()


@pytest.mark.parametrize("kind", _KINDS)
@pytest.mark.parametrize("orientation", _TURNS)
def test_orientation_is_applied(orientation: int, kind: str, decoder: Decoder) -> None:
    upright = hopper().resize((160, 188))
    turn = _TURNS[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    turned = upright.transpose(turn) if turn is not None else upright
    # Given as bytes, the encoders of HEIC and AVIF turn it into their own way of saying it.
    photo = encode(turned, kind, exif=exif.tobytes())
    assert (b"irot" in photo or b"imir" in photo) == (kind in {"HEIF", "AVIF"} and turn is not None)

    decoded = decoder.decode(photo)

    assert _difference(decoded, upright) < 5


def test_a_heic_is_turned_once_by_its_own_word(decoder: Decoder) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    only_exif = encode(hopper(), "HEIF", exif=exif)
    assert b"irot" not in only_exif
    assert b"Exif" in only_exif

    assert _difference(decoder.decode(only_exif), hopper()) < 5


@pytest.mark.parametrize("exif", [b"Exif\x00\x00MM", b"Exif\x00\x00" + bytes(range(256))])
def test_broken_exif_does_not_matter(exif: bytes, decoder: Decoder) -> None:
    assert _difference(decoder.decode(encode(astronaut(), exif=exif)), astronaut()) < 5


def test_an_unknown_orientation_is_ignored(decoder: Decoder) -> None:
    exif = Image.Exif()
    exif[0x0112] = 99

    assert _difference(decoder.decode(encode(hopper(), exif=exif)), hopper()) < 5


def test_the_kept_copy_has_the_side_that_the_settings_name() -> None:
    small = Decoder(Settings(vision=VisionSettings(kept_side=640)))
    try:
        decoded = small.decode(encode(hopper().resize((1500, 2000))))
    finally:
        small.close()

    assert decoded.shape == (640, 480, 3)
    assert _difference(decoded, hopper().resize((480, 640))) < 6


def test_a_small_photo_is_not_enlarged(decoder: Decoder) -> None:
    decoded = decoder.decode(encode(hopper().resize((160, 200))))

    assert decoded.shape == (200, 160, 3)


@pytest.mark.parametrize("kind", ["WEBP", "PNG", "AVIF"])
def test_only_the_first_frame_of_a_film_is_seen(kind: str, decoder: Decoder) -> None:
    first = astronaut().resize((256, 256))
    rest = [Image.new("RGB", first.size, (shade, 0, 0)) for shade in range(0, 200, 40)]
    film = encode(first, kind, save_all=True, append_images=rest)

    assert _difference(decoder.decode(film), first) < 5


@pytest.mark.parametrize("kind", _KINDS)
def test_a_file_cut_anywhere_is_damaged_and_costs_no_child(kind: str, decoder: Decoder) -> None:
    whole = encode(astronaut(), kind)
    decoder.decode(whole)
    child = decoder.child_pid

    for percent in range(1, 96):
        with pytest.raises(PhotoRejectedError) as caught:
            decoder.decode(whole[: len(whole) * percent // 100])
        assert caught.type is ImageDamagedError

    assert decoder.child_pid == child


def _outcome(decoder: Decoder, data: bytes) -> str:
    try:
        return f"{len(decoder.decode(data))} rows"
    except PhotoRejectedError as exc:
        return exc.code


@pytest.mark.parametrize("kind", _KINDS)
def test_a_file_with_wrong_bytes_is_refused_or_decoded(kind: str, decoder: Decoder) -> None:
    whole = encode(astronaut().resize((200, 200)), kind)
    rng = np.random.default_rng(6)
    for _ in range(150):
        data = bytearray(whole)
        for at in rng.integers(12, len(data), size=rng.integers(1, 40)):
            data[at] = rng.integers(256)

        assert _outcome(decoder, bytes(data))


@cache
def _packed_zeros() -> bytes:
    return zlib.compress(bytes(200_000_000), 1)


def _png_with(chunk: bytes) -> bytes:
    whole = encode(astronaut(), "PNG")
    return whole[:33] + chunk + whole[33:]


@pytest.mark.parametrize(
    "bomb",
    [
        lambda packed: png_chunk(b"zTXt", b"Comment\x00\x00" + packed),
        lambda packed: png_chunk(b"iCCP", b"profile\x00\x00" + packed),
    ],
    ids=["text", "profile"],
)
def test_compressed_side_notes_cost_nothing(
    bomb: Callable[[bytes], bytes], decoder: Decoder
) -> None:
    photo = _png_with(bomb(_packed_zeros()))
    decoder.decode(encode(astronaut()))
    child = decoder.child_pid

    assert _difference(decoder.decode(photo), astronaut()) == 0
    assert decoder.child_pid == child


def test_no_pixel_of_one_photo_reaches_the_next(decoder: Decoder) -> None:
    good = encode(hopper().resize((512, 512)))
    fresh = Decoder(Settings())
    try:
        alone = fresh.decode(good)
    finally:
        fresh.close()

    decoder.decode(encode(astronaut()))
    with pytest.raises(ImageDamagedError):
        decoder.decode(encode(astronaut())[:-5000])
    after = decoder.decode(good)

    assert np.array_equal(after, alone)
