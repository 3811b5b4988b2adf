"""An embedder that needs no model."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import numpy as np

from automatch.vision.embed.embedder import CHIP_SIDE, check_chips, to_unit_rows

if TYPE_CHECKING:
    import numpy.typing as npt

    from automatch.vision.models.registry import Alignment


class FakeEmbedder:
    """Gives each chip a direction drawn from its hash: all but equal chips are strangers."""

    model_id = "fake"
    dimensions = 128
    alignment: Alignment = "dlib"
    chip_side = CHIP_SIDE

    def embed(self, chips: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        check_chips(chips)
        rows = np.empty((len(chips), self.dimensions))
        for row, chip in zip(rows, chips, strict=True):
            seed = int.from_bytes(hashlib.sha256(chip.tobytes()).digest()[:8])
            row[:] = np.random.default_rng(seed).standard_normal(self.dimensions)
        return to_unit_rows(rows)
