"""What the upload handler asks of a photo: its type and limits, by its bytes, decoding nothing."""

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
from automatch.vision.decode.image_header import Limits, PhotoFileError, check

if TYPE_CHECKING:
    from automatch.settings import Settings

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
    """Return the limits of a photo file that *settings* ask for."""
    return Limits(
        max_pixels=settings.upload.max_pixels,
        min_side=settings.upload.min_side,
        max_aspect=settings.upload.max_aspect,
        max_scans=settings.vision.max_scans,
    )


def check_header(data: bytes, limits: Limits) -> str:
    """Return the type of a photo file: `jpeg`, `png`, `webp`, `heif` or `avif`.

    Only the first bytes are read, for a JPEG its segment marks, for HEIC and AVIF the boxes that
    lead to the sizes: a file that passes may still be damaged.

    Raises:
        FileEmptyError: there are no bytes.
        ImageTypeError: the bytes are of no supported type, whatever the file is called.
        PhotoRejectedError: the header is broken, or claims more than the limits allow.
    """
    try:
        return check(data, limits)
    except PhotoFileError as exc:
        raise error_of(exc.code, exc.message) from exc


def error_of(code: str, message: str | None) -> AutomatchError:
    """Return the error that *code* names; an unknown code counts as a damaged photo."""
    return _ERRORS.get(code, ImageDamagedError)(message)


def refusal_named(code: str, message: str) -> AutomatchError | None:
    """Return the refusal of a photo that was told elsewhere; `None` when *code* names none."""
    kind = BodyTooLargeError if code == BodyTooLargeError.code else _ERRORS.get(code)
    return kind(message or None) if kind else None
