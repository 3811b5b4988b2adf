"""Chooses the face of a photo, measures its quality and checks it.

The limits are settings; docs/vision.md shows for each of them how far photos can be degraded before
the embedding no longer identifies the person.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from automatch.errors.photo import (
    FaceBlurredError,
    FaceCutOffError,
    FaceLowConfidenceError,
    FaceTooBrightError,
    FaceTooDarkError,
    FaceTooSmallError,
    FaceTurnedError,
    FaceUnclearError,
    NoFaceError,
    SeveralFacesError,
)
from automatch.model.faces import FaceBox, overlap

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import numpy.typing as npt

    from automatch.settings.vision import VisionSettings
    from automatch.vision.detect.detector import AlignedFace, Detection

_MIN_IOU = 0.4
"""Intersection over union with the chosen box. In 33 photos of two people, the same face had at
least 0.68 in the clean copy and 0.62 by the other detector; another face had 0."""

_FACE = slice(30, 125)
"""Rows and columns of a chip that show the face itself."""

_LIT = 80.0
"""A face of at least this brightness is not dark, whatever its contrast."""

_MAX_GAIN = 4.0
_CELL = 3
"""Pixels of a chip averaged in each direction before contrast is measured, which removes noise."""


def choose_face(
    detections: Sequence[Detection],
    min_confidence: float,
    photo: npt.NDArray[np.uint8],
    chosen: FaceBox | None = None,
    *,
    min_side: int = 0,
) -> Detection:
    """Return the one face that the photo shows.

    Args:
        detections: of the detector, highest confidence first.
        min_confidence: a face with a lower score is too uncertain to use.
        photo: (height, width, 3), in whose pixels the detections are.
        chosen: the one of several that the uploader marked as their own.
        min_side: in pixels; smaller faces cannot be used and are not asked about.

    Raises:
        NoFaceError: there is no face.
        FaceLowConfidenceError: there may be a face.
        SeveralFacesError: several can be used, and none of them is the chosen one.
    """
    if not detections:
        raise NoFaceError
    if chosen is not None and (own := _find_chosen(detections, photo, chosen)) is not None:
        if own.confidence < min_confidence:
            raise _low_confidence(own.confidence, min_confidence)
        return own
    faces = [detection for detection in detections if detection.confidence >= min_confidence]
    if not faces:
        raise _low_confidence(detections[0].confidence, min_confidence)
    faces.sort(key=lambda face: face.side, reverse=True)
    usable = [face for face in faces if face.side >= min_side]
    if len(usable) > 1:
        raise SeveralFacesError(len(usable), _shares(usable, photo))
    if chosen is not None:
        # There is one face, but not the chosen one, and nobody marked it as their own.
        raise NoFaceError("The face that you chose was not found again; use a photo of you alone.")
    return faces[0]


def _find_chosen(
    detections: Sequence[Detection], photo: npt.NDArray[np.uint8], chosen: FaceBox
) -> Detection | None:
    overlaps = [
        overlap(FaceBox.of_corners(*corners), chosen) for corners in _shares(detections, photo)
    ]
    best = int(np.argmax(overlaps))
    return detections[best] if overlaps[best] >= _MIN_IOU else None


def _low_confidence(score: float, min_confidence: float) -> FaceLowConfidenceError:
    return FaceLowConfidenceError(
        f"A face can only be guessed: it scores {score:.2f} and at least {min_confidence:g} is "
        "needed; uncover your face, and use a photo from the front in good light.",
        score,
        min_confidence,
    )


def _shares(
    faces: Sequence[Detection], photo: npt.NDArray[np.uint8]
) -> tuple[tuple[float, float, float, float], ...]:
    height, width = photo.shape[:2]
    return tuple(face.box.shares_of(width, height) for face in faces)


def measure(detection: Detection, aligned: AlignedFace) -> dict[str, float]:
    """Return the quality of a face; see `FaceExtraction.quality`."""
    grey = aligned.chip.astype(np.float32) @ np.array([0.299, 0.587, 0.114], np.float32)
    face = grey[_FACE, _FACE]
    brightness, contrast = float(face.mean()), _contrast(face)
    # Edges are weaker in a dark photo, which must not count as blur.
    grey *= min(_MAX_GAIN, max(1.0, _LIT / max(float(grey.mean()), 1.0)))
    inner = grey[1:-1, 1:-1]
    laplacian = grey[:-2, 1:-1] + grey[2:, 1:-1] + grey[1:-1, :-2] + grey[1:-1, 2:] - 4 * inner
    return {
        "face_side_px": float(detection.side),
        "sharpness": round(float(laplacian.var()), 2),
        "brightness": round(brightness, 2),
        "contrast": round(contrast, 2),
        "confidence": round(detection.confidence, 3),
        "yaw_degrees": round(abs(aligned.yaw_degrees), 1),
        "inside": round(aligned.inside, 3),
    }


def _contrast(face: npt.NDArray[np.float32]) -> float:
    """Return how far the light parts of a face are from its shaded ones, 0 to 255.

    Dim light lowers it alike on dark and on light skin, and brightness more on dark skin.
    """
    side = len(face) // _CELL
    cells = face[: side * _CELL, : side * _CELL].reshape(side, _CELL, side, _CELL).mean(axis=(1, 3))
    shade, light = np.percentile(cells, [5, 95])
    return float(light - shade)


def check_quality(quality: dict[str, float], vision: VisionSettings) -> None:
    """Check that a face can be compared.

    Raises:
        FaceUnclearError: it cannot; the subclass and its message say why.
    """
    for violation in _violations(quality, vision):
        raise violation


def _violations(quality: dict[str, float], vision: VisionSettings) -> Iterator[FaceUnclearError]:
    """Yield each violated limit, causes before effects: a dark face also measures as blurred."""
    if (side := quality["face_side_px"]) < vision.min_face_side:
        yield FaceTooSmallError(
            f"The face is only {side:.0f} pixels wide and at least {vision.min_face_side} are "
            "needed; use a photo taken closer to you.",
            side,
            vision.min_face_side,
        )
    if (inside := quality["inside"]) < vision.min_inside:
        yield FaceCutOffError(
            f"The photo shows only {inside:.0%} of the face and what surrounds it, and at least "
            f"{vision.min_inside:.0%} are needed; use one with the whole face and some room "
            "around it.",
            inside,
            vision.min_inside,
        )
    brightness, contrast = quality["brightness"], quality["contrast"]
    if brightness < _LIT and contrast < vision.min_contrast:
        yield FaceTooDarkError(
            f"The face is too dark: its light and its shade are only {contrast:.0f} of 255 apart "
            f"and at least {vision.min_contrast:g} are needed; turn towards a window or a lamp.",
            contrast,
            vision.min_contrast,
        )
    if brightness > vision.max_brightness:
        yield FaceTooBrightError(
            f"The face is too bright: its brightness is {brightness:.0f} of 255 and at most "
            f"{vision.max_brightness:g} is possible; step out of the direct light or switch the "
            "flash off.",
            brightness,
            vision.max_brightness,
        )
    if (yaw := quality["yaw_degrees"]) > vision.max_yaw_degrees:
        yield FaceTurnedError(
            f"The face is turned to a side by about {yaw:.0f} degrees and at most "
            f"{vision.max_yaw_degrees:g} are possible; look straight into the camera.",
            yaw,
            vision.max_yaw_degrees,
        )
    if (sharpness := quality["sharpness"]) < vision.min_sharpness:
        yield FaceBlurredError(
            f"The face is blurred: its sharpness is {sharpness:.1f} and at least "
            f"{vision.min_sharpness:g} is needed; hold the camera still, clean its lens, or choose "
            "a sharper photo.",
            sharpness,
            vision.min_sharpness,
        )
