"""dlib's own run of its face network: what ours is compared with, by tests and benchmarks."""

from __future__ import annotations

from typing import TYPE_CHECKING

import dlib
import numpy as np

from automatch.vision.models.model_files import FACE_RESNET, verified

if TYPE_CHECKING:
    import numpy.typing as npt


class DlibInference:
    """Takes 70 to 120 ms a face and holds the GIL all that time."""

    def __init__(self) -> None:
        self._model = dlib.face_recognition_model_v1(str(verified(FACE_RESNET)))

    def raw(self, chips: npt.NDArray[np.uint8]) -> npt.NDArray[np.float64]:
        """Return the embeddings as dlib gives them: (n, 128), not of length 1."""
        return np.array([self._model.compute_face_descriptor(chip) for chip in chips])
