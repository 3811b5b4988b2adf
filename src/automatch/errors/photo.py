"""Errors of a photo that will never work: its job fails at once."""

from __future__ import annotations

from dataclasses import dataclass

from automatch.errors.base import AutomatchError


@dataclass(frozen=True, slots=True, eq=False)
class RefusedPicture:
    """The clean copy of a refused photo, to show its owner what is wrong with it."""

    jpeg: bytes
    """Upright, without metadata; all faces but the one at fault are redacted."""
    thumbnail: bytes
    width: int
    height: int
    face: tuple[float, float, float, float] | None = None
    """Left, top, right and bottom of the face at fault, in shares of width and height."""


class PhotoRejectedError(AutomatchError):
    """The photo cannot be used."""

    code = "photo_rejected"
    picture: RefusedPicture | None = None
    """None where the photo could not be decoded, or it is not known whose face is to be shown."""


class ImageDamagedError(PhotoRejectedError):
    """The photo is damaged or incomplete; export or take it again."""

    code = "image_damaged"


class ImageTooLargeError(PhotoRejectedError):
    """The photo has too many pixels; send one of at most 51 megapixels."""

    code = "image_too_large_pixels"


class ImageTooSmallError(PhotoRejectedError):
    """The photo is too small; send one of at least 160 pixels on each side."""

    code = "image_too_small"


class ImageBadShapeError(PhotoRejectedError):
    """The photo is too long and narrow; crop it to the person."""

    code = "image_bad_shape"


class ImageTooComplexError(PhotoRejectedError):
    """The photo is built in an unusual way that costs too much to decode; export it again."""

    code = "image_too_complex"


class ImageTimeoutError(PhotoRejectedError):
    """Decoding the photo took too long; export it again."""

    code = "image_timeout"


class NoFaceError(PhotoRejectedError):
    """No face was found; use a photo that shows your face from the front in good light."""

    code = "no_face"


class SeveralFacesError(PhotoRejectedError):
    """More than one face was found; say which is yours, or use a photo that shows only you."""

    code = "several_faces"

    def __init__(
        self,
        count: int | None = None,
        boxes: tuple[tuple[float, float, float, float], ...] = (),
    ) -> None:
        found = f"{count} faces were found" if count else "More than one face was found"
        super().__init__(f"{found}; say which one is yours, or use a photo that shows only you.")
        self.count = count
        self.boxes = boxes
        """Left, top, right and bottom of each, in shares of the upright photo's width and height,
        the largest first; so they fit any copy of it."""
        self.copies: tuple[bytes, bytes] | None = None
        """The clean copy of the photo and its thumbnail, to show while its owner is asked."""


class AnotherPersonError(PhotoRejectedError):
    """This doesn't look like the person in your other photo, so nobody sees it yet."""

    code = "another_person"


class PhotoInReviewError(PhotoRejectedError):
    """We'd like to look at this photo before anyone else sees it."""

    code = "photo_in_review"


class ChallengeNeededError(PhotoRejectedError):
    """One more step: show with your camera that this is you."""

    code = "challenge_needed"


class ChallengeFailedError(PhotoRejectedError):
    """That didn't work. Use your camera, in good light, and turn your head as asked."""

    code = "challenge_failed"


class PhotoRefusedError(PhotoRejectedError):
    """We looked at this photo and can't use it. Delete it and add another one of you."""

    code = "photo_refused"


class FaceUnclearError(PhotoRejectedError):
    """The face cannot be compared; use a sharp photo from the front, in good light."""

    measured: float | None = None
    """What was measured, in the unit of the setting that holds the limit."""
    limit: float | None = None

    def __init__(
        self, message: str | None = None, measured: float | None = None, limit: float | None = None
    ) -> None:
        super().__init__(message)
        self.measured = measured
        self.limit = limit


class FaceTooSmallError(FaceUnclearError):
    """The face is too small in the photo; use one taken closer to you."""

    code = "face_too_small"


class FaceBlurredError(FaceUnclearError):
    """The face is blurred; hold the camera still, clean its lens, or choose a sharper photo."""

    code = "face_blurred"


class FaceTooDarkError(FaceUnclearError):
    """The face is too dark; turn towards a window or a lamp."""

    code = "face_too_dark"


class FaceTooBrightError(FaceUnclearError):
    """The face is too bright; step out of the direct light or switch the flash off."""

    code = "face_too_bright"


class FaceTurnedError(FaceUnclearError):
    """The face is turned to a side; look straight into the camera."""

    code = "face_turned"


class FaceCutOffError(FaceUnclearError):
    """The photo ends in the face; use one that shows the whole face with some room around it."""

    code = "face_cut_off"


class FaceLowConfidenceError(FaceUnclearError):
    """A face can only be guessed; use a photo from the front with nothing before your face."""

    code = "face_low_confidence"


HELD_CODES = frozenset(
    {AnotherPersonError.code, PhotoInReviewError.code, ChallengeNeededError.code}
)
"""Of photos that wait for an operator's decision: nobody else is shown them."""
