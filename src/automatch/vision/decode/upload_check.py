"""Checks an uploaded photo by its header, without decoding it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from automatch.errors import AutomatchError
from automatch.errors.photo import (
    ImageBadShapeError,
    ImageDamagedError,
    ImageTimeoutError,
    ImageTooComplexError,
    ImageTooLargeError,
    ImageTooSmallError,
)
from automatch.errors.upload import BodyTooLargeError, FileEmptyError, ImageTypeError
from automatch.vision.decode.image_header import (
    Limits,
    PhotoFileError,
    check,
    estimate_cpu_s,
)

if TYPE_CHECKING:
    from automatch.settings import Settings

_COSTLY_S = 0.8
"""Above what the photo of a phone's usual camera takes: 12 megapixels, or 24 well compressed."""

_ERRORS: dict[str, type[AutomatchError]] = {
    error.code: error
    for error in (
        FileEmptyError,
        ImageBadShapeError,
        ImageDamagedError,
        ImageTimeoutError,
        ImageTooComplexError,
        ImageTooLargeError,
        ImageTooSmallError,
        ImageTypeError,
    )
}


def limits_from(settings: Settings) -> Limits:
    """Return the limits of a photo file from *settings*."""
    return Limits(
        max_pixels=settings.upload.max_pixels,
        min_side=settings.upload.min_side,
        max_aspect=settings.upload.max_aspect,
        max_scans=settings.vision.max_scans,
    )


def check_header(data: bytes, limits: Limits) -> str:
    """Return the type of a photo file: `jpeg`, `png`, `webp`, `heif` or `avif`.

    It reads only the first bytes, the segment markers of a JPEG, and the boxes of HEIC and AVIF
    that hold sizes: a file that passes may still be damaged.

    Raises:
        FileEmptyError: there are no bytes.
        ImageTypeError: the bytes are of no supported type.
        PhotoRejectedError: the header is damaged, or outside the limits.
    """
    try:
        return check(data, limits)
    except PhotoFileError as exc:
        raise error_of(exc.code, exc.message) from exc


def is_costly(data: bytes) -> bool:
    """Return whether a photo takes long to decode; False for what is none."""
    try:
        return estimate_cpu_s(data) > _COSTLY_S
    except PhotoFileError:
        return False


def error_of(code: str, message: str | None) -> AutomatchError:
    """Return the error of *code*; an unknown code means a damaged photo."""
    return _ERRORS.get(code, ImageDamagedError)(message)


def refusal_named(code: str, message: str) -> AutomatchError | None:
    """Return the error of *code* if it is one about a photo, with the given message."""
    kind = BodyTooLargeError if code == BodyTooLargeError.code else _ERRORS.get(code)
    return kind(message or None) if kind else None
