"""Which files show a photo although their notes or their end are broken."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import pytest
from PIL import Image

from automatch.errors.photo import (
    ImageDamagedError,
    ImageTooComplexError,
    ImageTooLargeError,
    PhotoRejectedError,
)
from automatch.settings import Settings
from automatch.vision.decode.decoder import Decoder
from automatch.vision.decode.upload_check import check_header, limits_from
from tests.support.photo_cases import (
    jpeg_that_claims,
    png_of_rows,
    png_with_notes,
    turned_in_xmp_alone,
    with_early_end,
)
from tests.support.photos import astronaut, encode, png_chunk

_KINDS_OF_JPEG: dict[str, dict[str, object]] = {
    "colour": {},
    "no-subsampling": {"subsampling": 0},
    "restart-marks": {"restart_marker_rows": 1},
    "progressive": {"progressive": True},
}


@pytest.fixture(scope="module")
def decoder() -> Iterator[Decoder]:
    decoder = Decoder(Settings())
    yield decoder
    decoder.close()


def _large() -> Image.Image:
    return astronaut().resize((4000, 4000))


def _on_grey(side: int = 512) -> Image.Image:
    """Return a photo whose last rows are of the grey that libjpeg draws for missing ones."""
    page = Image.new("RGB", (side, side * 5 // 4), (128, 128, 128))
    page.paste(astronaut().resize((side, side)))
    return page


def test_a_note_in_a_png_spoils_no_picture(decoder: Decoder) -> None:
    for case, png in png_with_notes().items():
        decoded = decoder.decode(png)

        assert np.array_equal(decoded, np.asarray(astronaut())), case


def test_a_png_is_turned_by_an_intact_exif_chunk_alone(decoder: Decoder) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    png = encode(astronaut(), "PNG", exif=exif)
    note = png.index(b"eXIf")
    broken = png[: note + 4] + bytes([png[note + 4] ^ 1]) + png[note + 5 :]

    turned = decoder.decode(png)

    assert np.array_equal(turned, np.rot90(np.asarray(astronaut()), -1))
    assert np.array_equal(decoder.decode(broken), np.asarray(astronaut()))


def test_a_png_of_very_many_chunks_is_refused(decoder: Decoder) -> None:
    png = encode(astronaut(), "PNG")
    chunks = png_chunk(b"teSt", b"") * 30_000

    with pytest.raises(ImageTooComplexError):
        decoder.decode(png[:33] + chunks + png[33:])


@pytest.mark.parametrize("interlaced", [False, True], ids=["rows", "passes"])
def test_a_png_whose_data_end_early_is_damaged(interlaced: bool, decoder: Decoder) -> None:
    photo = np.asarray(astronaut()).copy()
    # A photo may end black; its rows are there.
    photo[-5:] = 0
    whole = png_of_rows(photo, 512, interlaced=interlaced)
    assert np.array_equal(decoder.decode(whole), photo)

    for rows in (100, 256, 504):
        with pytest.raises(ImageDamagedError):
            decoder.decode(png_of_rows(photo[:rows], 512, interlaced=interlaced))


def test_a_jpeg_of_very_many_segments_is_refused(decoder: Decoder) -> None:
    jpeg = encode(astronaut())
    scan = jpeg.index(b"\xff\xda")

    with pytest.raises(ImageTooComplexError):
        decoder.decode(jpeg[:scan] + b"\xff\xfe\0\x02" * 100_000 + jpeg[scan:])


def test_fill_bytes_and_notes_in_a_jpeg_change_nothing(decoder: Decoder) -> None:
    jpeg = encode(astronaut())
    scan = jpeg.index(b"\xff\xda")
    notes = b"".join(
        bytes([0xFF, marker, 0xFF, 0xFF]) + bytes(65_533) for marker in (0xE1, 0xE2, 0xED, 0xFE)
    )

    for file in (
        jpeg[:scan] + b"\xff" * 100_000 + jpeg[scan:],
        jpeg[:2] + notes + jpeg[2:],
        jpeg[:scan] + notes + jpeg[scan:],
    ):
        assert np.array_equal(decoder.decode(file), decoder.decode(jpeg))


def test_a_damaged_picture_in_a_png_is_refused(decoder: Decoder) -> None:
    png = bytearray(encode(astronaut(), "PNG"))
    png[len(png) // 2] ^= 1

    with pytest.raises(ImageDamagedError):
        decoder.decode(bytes(png))


@pytest.mark.parametrize("options", _KINDS_OF_JPEG.values(), ids=_KINDS_OF_JPEG)
@pytest.mark.parametrize("photo", [astronaut, _on_grey], ids=["face", "grey-below"])
def test_a_jpeg_with_all_rows_needs_no_end_mark(
    photo: Callable[[], Image.Image], options: dict[str, object], decoder: Decoder
) -> None:
    whole = encode(photo(), quality=92, **options)

    for cut in (whole[:-2], whole[:-1], whole[:-2] + bytes(100)):
        assert np.array_equal(decoder.decode(cut), decoder.decode(whole))


@pytest.mark.parametrize("share", [0.1, 0.3, 0.5, 0.7, 0.85])
@pytest.mark.parametrize(
    "photo", [astronaut, _on_grey, _large], ids=["face", "grey-below", "large"]
)
def test_a_jpeg_without_all_rows_is_damaged(
    photo: Callable[[], Image.Image], share: float, decoder: Decoder
) -> None:
    whole = encode(photo(), quality=92)
    start = whole[: round(len(whole) * share)]

    for file in (start, start + b"\xff\xd9", with_early_end(whole, share)):
        with pytest.raises(ImageDamagedError):
            decoder.decode(file)


def test_a_progressive_jpeg_needs_every_part_of_its_detail(decoder: Decoder) -> None:
    whole = encode(_on_grey(), quality=92, progressive=True)

    for share in (0.05, 0.1, 0.2):
        with pytest.raises(ImageDamagedError):
            decoder.decode(with_early_end(whole, share))


def test_orientation_in_xmp_alone_is_not_obeyed(decoder: Decoder) -> None:
    upright = decoder.decode(encode(astronaut(), quality=92))

    assert np.array_equal(decoder.decode(turned_in_xmp_alone()), upright)


@pytest.mark.parametrize("size", [(8160, 6144), (8192, 6144), (8064, 6048), (6144, 8160)])
def test_the_sizes_of_phones_called_50_megapixels_are_no_reason_to_refuse(
    size: tuple[int, int],
) -> None:
    assert check_header(jpeg_that_claims(*size), limits_from(Settings())) == "jpeg"


def test_more_pixels_than_that_are_refused() -> None:
    with pytest.raises(ImageTooLargeError):
        check_header(jpeg_that_claims(9000, 6000), limits_from(Settings()))


def test_an_odd_file_costs_no_child(decoder: Decoder) -> None:
    decoder.decode(encode(astronaut()))
    child = decoder.child_pid

    for file in (*png_with_notes().values(), with_early_end(encode(astronaut()), 0.5)):
        try:
            decoder.decode(file)
        except PhotoRejectedError:
            continue

    assert decoder.child_pid == child
