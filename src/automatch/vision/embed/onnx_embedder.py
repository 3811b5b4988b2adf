"""Face models in the form of one ONNX file."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import numpy as np

from automatch.errors.embedder import EmbeddingInvalidError, ModelDamagedError
from automatch.vision.embed.embedder import check_chips, to_unit_rows
from automatch.vision.models.model_files import path_of, read_checked
from automatch.vision.models.onnx_model import has_external_data, open_session

if TYPE_CHECKING:
    from pathlib import Path

    import numpy.typing as npt
    import onnxruntime

    from automatch.vision.models.registry import Alignment, ModelEntry

_MAX_BATCH = 16


class OnnxEmbedder:
    """A model of the registry that runs as `onnx`; satisfies `Embedder`."""

    def __init__(self, entry: ModelEntry, data_dir: Path) -> None:
        """Name the model without reading its file, which lies under *data_dir*."""
        assert entry.dimensions is not None
        assert entry.alignment is not None
        assert entry.input is not None
        self.model_id = entry.name
        self.dimensions: int = entry.dimensions
        self.alignment: Alignment = entry.alignment
        self.chip_side: int = entry.input.side
        self._entry = entry
        self._input = entry.input
        self._file = path_of(entry, entry.files[0], data_dir)
        self._loading = threading.Lock()
        self._session: onnxruntime.InferenceSession | None = None

    def embed(self, chips: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """See `Embedder.embed`."""
        check_chips(chips, self.chip_side)
        session = self._load()
        (taken,) = session.get_inputs()
        # A model whose batch size is fixed at 1 takes one chip per run.
        batch_size = 1 if taken.shape[0] == 1 else _MAX_BATCH
        rows = [np.empty((0, self.dimensions), np.float32)]
        for start in range(0, len(chips), batch_size):
            batch = chips[start : start + batch_size]
            (raw,) = session.run(None, {taken.name: self._to_input(batch)})
            if raw.shape != (len(batch), self.dimensions):
                raise EmbeddingInvalidError
            rows.append(raw)
        return to_unit_rows(np.concatenate(rows))

    def _to_input(self, chips: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        ordered = chips[..., ::-1] if self._input.colours == "bgr" else chips
        scaled = (ordered.astype(np.float32) - self._input.subtract) / self._input.divide
        return np.ascontiguousarray(scaled.transpose(0, 3, 1, 2), dtype=np.float32)

    def _load(self) -> onnxruntime.InferenceSession:
        with self._loading:
            if self._session is None:
                self._session = self._open()
            return self._session

    def _open(self) -> onnxruntime.InferenceSession:
        remedy = f"run `automatch models fetch {self.model_id}`"
        data = read_checked(self._entry.files[0], self._file, remedy)
        try:
            if has_external_data(data):
                raise ModelDamagedError(self._file, "ask for a model in one file")
            session = open_session(data)
        except ValueError as exc:
            raise ModelDamagedError(self._file, remedy) from exc
        if len(session.get_inputs()) != 1 or len(session.get_outputs()) != 1:
            raise ModelDamagedError(self._file, "its entry describes another kind of model")
        return session
