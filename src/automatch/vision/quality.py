"""Whether a photo shows one face, well enough to compare it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from automatch.errors import FaceQualityLowError, NoFaceError, SeveralFacesError

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from automatch.vision.detector import Finding

_BYSTANDER_SHARE = 1 / 2
"""A face under this share of the largest one's side is a passer-by or a poster, not a second
subject; what is much smaller the detector would not see anyway. In real double portraits the
smaller face has four fifths of the other's side and more."""

_LEAST_SHARPNESS = 5.0
"""Of 240 real portraits, some enlarged from faces of 45 pixels, the least sharp has 16. Blurred by
2 pixels of the chip most of them fall under 5, by 3 pixels all do; there the embedding has moved
further from its own than that of another sharp photo of the same person lies."""

_LIT = 80.0
_MAX_GAIN = 4.0


def choose_face(findings: Sequence[Finding], min_confidence: float) -> Finding:
    """Return the one face that the photo is of.

    Args:
        findings: what the detector found.
        min_confidence: what scores less is no face.

    Raises:
        NoFaceError: there is none.
        SeveralFacesError: there are several of comparable size.
    """
    findings = [finding for finding in findings if finding.confidence >= min_confidence]
    if not findings:
        raise NoFaceError
    largest = max(findings, key=lambda finding: finding.side)
    count = sum(finding.side >= _BYSTANDER_SHARE * largest.side for finding in findings)
    if count > 1:
        raise SeveralFacesError(count)
    return largest


def measure(finding: Finding, chip: npt.NDArray[np.uint8]) -> dict[str, float]:
    """Return the figures of a face, see `SeenPhoto.quality`.

    Sharpness is the variance of the chip's Laplacian at the light of an ordinary photo.
    """
    grey = chip.astype(np.float32) @ np.array([0.299, 0.587, 0.114], np.float32)
    brightness = float(grey.mean())
    # Edges weaken with the light, and a dark photo is not a blurred one.
    grey *= min(_MAX_GAIN, max(1.0, _LIT / max(brightness, 1.0)))
    inner = grey[1:-1, 1:-1]
    laplacian = grey[:-2, 1:-1] + grey[2:, 1:-1] + grey[1:-1, :-2] + grey[1:-1, 2:] - 4 * inner
    return {
        "face_side_px": float(finding.side),
        "sharpness": round(float(laplacian.var()), 2),
        "brightness": round(brightness, 2),
        "confidence": round(finding.confidence, 3),
    }


def check_quality(quality: dict[str, float], min_face_side: int) -> None:
    """Let a face pass that can be compared.

    Raises:
        FaceQualityLowError: it is too small or too blurred; the message says by how much.
    """
    side, sharpness = quality["face_side_px"], quality["sharpness"]
    if side < min_face_side:
        raise FaceQualityLowError(
            f"The face is only {side:.0f} pixels wide and at least {min_face_side} are needed; "
            "use a photo taken closer to you."
        )
    if sharpness < _LEAST_SHARPNESS:
        raise FaceQualityLowError(
            f"The face is blurred: its sharpness is {sharpness:.1f} and at least "
            f"{_LEAST_SHARPNESS:.0f} is needed; hold the camera still, clean its lens, or choose "
            "a sharper photo."
        )
