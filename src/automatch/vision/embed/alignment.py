"""From a face that a detector aligned to the chip that an embedder was trained on.

Every detector cuts dlib's chip, which also tells how good the photo is. Models of the ArcFace type
take another one: the eyes, the nose's tip and the corners of the mouth brought onto a template of
112 pixels. dlib's five points have no mouth, so that chip cannot be cut from them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from automatch.errors.embedder import ModelUnfitError
from automatch.vision.embed.similarity_transform import Placement

if TYPE_CHECKING:
    import numpy.typing as npt

    from automatch.vision.detect.detector import AlignedFace, Detector
    from automatch.vision.embed.embedder import Embedder

_ARCFACE_SIDE = 112

# The places of the landmarks in the chips of InsightFace's `face_align.py` and, the same ones, of
# OpenCV's `face_recognize.cpp`.
_ARCFACE = np.array(
    [
        (38.2946, 51.6963),
        (73.5318, 51.5014),
        (56.0252, 71.7366),
        (41.5493, 92.3655),
        (70.7299, 92.2041),
    ]
)


def check_fit(embedder: Embedder, detector: Detector) -> None:
    """Make sure that the chips of *embedder* can be cut by what *detector* gives.

    Raises:
        ModelUnfitError: they cannot.
    """
    if embedder.alignment == "arcface" and detector.gives != "eyes_nose_mouth":
        raise ModelUnfitError(
            f"The model {embedder.model_id} needs the corners of the mouth, and dlib's detector "
            "does not find them. Fetch YuNet (`automatch models fetch yunet`) and set "
            "AUTOMATCH_VISION__YUNET_FILE to its file."
        )


def chip_for(
    embedder: Embedder, photo: npt.NDArray[np.uint8], aligned: AlignedFace
) -> npt.NDArray[np.uint8]:
    """Return the chip that *embedder* takes of a face in *photo*, (side, side, 3) RGB."""
    if embedder.alignment == "dlib":
        return aligned.chip
    side = embedder.chip_side
    template = _ARCFACE * (side / _ARCFACE_SIDE)
    return Placement.onto(aligned.landmarks, template, side).cut(photo)
