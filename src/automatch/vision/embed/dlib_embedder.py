"""The default face model: dlib's ResNet, run by onnxruntime."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import numpy as np

from automatch.vision.embed.embedder import CHIP_SIDE, check_chips, to_unit_rows
from automatch.vision.models.converted_model import open_dlib_model
from automatch.vision.models.model_files import FACE_RESNET

if TYPE_CHECKING:
    from pathlib import Path

    import numpy.typing as npt
    import onnxruntime

    from automatch.vision.models.registry import Alignment

_MAX_BATCH = 32
"""Larger batches are no faster, and the memory of a run grows with its batch."""


class DlibEmbedder:
    """dlib's 128-dimensional face embedding; satisfies `Embedder`.

    Its embeddings equal those of dlib's own inference to 1e-6, in a thirtieth of the time, and it
    releases the GIL. The weights are those of dlib's own file, so none are shipped.
    """

    model_id = "dlib"
    dimensions = 128
    alignment: Alignment = "dlib"
    chip_side = CHIP_SIDE

    def __init__(self, *, folder: Path | None = None, data_dir: Path | None = None) -> None:
        """Read nothing yet.

        Args:
            folder: where dlib's file lies, if not in its package.
            data_dir: the data folder, in which the converted model is kept; see `open_dlib_model`.
        """
        self._source = folder / FACE_RESNET if folder else None
        self._data_dir = data_dir
        self._loading = threading.Lock()
        self._session: onnxruntime.InferenceSession | None = None

    def embed(self, chips: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """See `Embedder.embed`."""
        check_chips(chips)
        session = self._load()
        rows = [np.empty((0, self.dimensions), np.float32)]
        for start in range(0, len(chips), _MAX_BATCH):
            batch = np.ascontiguousarray(chips[start : start + _MAX_BATCH])
            rows += session.run(["embeddings"], {"chips": batch})
        return to_unit_rows(np.concatenate(rows))

    def _load(self) -> onnxruntime.InferenceSession:
        with self._loading:
            if self._session is None:
                self._session = open_dlib_model(self._source, self._data_dir)
            return self._session
