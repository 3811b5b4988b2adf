"""The default face model: dlib's ResNet, run by dlib itself."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import dlib
import numpy as np

from automatch.vision.embedder import check_chips, to_unit_rows
from automatch.vision.model_files import FACE_RESNET, verified

if TYPE_CHECKING:
    from pathlib import Path

    import numpy.typing as npt


class DlibEmbedder:
    """dlib's 128-dimensional face embedding; satisfies `Embedder`.

    A face takes dlib 70 to 100 ms, and dlib holds the GIL all that time: other threads of the
    process, the event loop among them, stand still. So run it where nobody waits for an answer.
    """

    model_id = "dlib"
    dimensions = 128

    def __init__(self, folder: Path | None = None) -> None:
        """Name the model without reading it; `folder` is where its file lies, if elsewhere."""
        self._folder = folder
        self._one_at_a_time = threading.Lock()
        self._model: Any = None

    def embed(self, chips: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """See `Embedder.embed`."""
        check_chips(chips)
        # dlib's network keeps its work in itself. The GIL serialises it today; this says so.
        with self._one_at_a_time:
            model = self._loaded()
            # Chip by chip: a batch is no quicker, needs more memory and holds the GIL for longer.
            rows = [model.compute_face_descriptor(np.ascontiguousarray(chip)) for chip in chips]
        return to_unit_rows(np.array(rows, np.float64).reshape(len(chips), self.dimensions))

    def _loaded(self) -> Any:
        if self._model is None:
            path = verified(FACE_RESNET, self._folder)
            self._model = dlib.face_recognition_model_v1(str(path))
        return self._model
