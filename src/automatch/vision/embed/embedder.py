"""What a face embedder offers, and checks that all embedders share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import numpy as np

from automatch.errors.embedder import EmbeddingInvalidError

if TYPE_CHECKING:
    import numpy.typing as npt

    from automatch.vision.models.registry import Alignment

CHIP_SIDE = 150
"""Side in pixels of the chip that every detector cuts, an upright and centred picture of a face."""


class Embedder(Protocol):
    """A face embedding model. Several threads may call `embed` at once."""

    @property
    def model_id(self) -> str:
        """Stored with every embedding; embeddings of different models are never compared."""
        ...

    @property
    def dimensions(self) -> int:
        """Length of an embedding."""
        ...

    @property
    def alignment(self) -> Alignment:
        """How faces are aligned in its chips."""
        ...

    @property
    def chip_side(self) -> int:
        """Side in pixels of its chips."""
        ...

    def embed(self, chips: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """Return one unit vector for each chip.

        Args:
            chips: (n, chip_side, chip_side, 3) RGB; n may be 0.

        Returns:
            (n, dimensions), in the order of the chips; each row depends on its chip only.

        Raises:
            ValueError: *chips* has another shape or dtype.
            ModelMissingError: the model file is not there; it is read on first use.
            ModelDamagedError: the model file is not the one it should be.
            EmbeddingInvalidError: the model returned a row that cannot be normalised.
        """
        ...


def check_chips(chips: npt.NDArray[np.uint8], side: int = CHIP_SIDE) -> None:
    """Raise `ValueError` unless *chips* is what `Embedder.embed` takes."""
    if chips.dtype != np.uint8 or chips.ndim != 4 or chips.shape[1:] != (side, side, 3):
        raise ValueError(
            f"chips must be uint8 of shape (n, {side}, {side}, 3), "
            f"not {chips.dtype} of shape {chips.shape}"
        )


def to_unit_rows(raw: npt.NDArray[np.floating]) -> npt.NDArray[np.float32]:
    """Normalise each row to length 1.

    Raises:
        EmbeddingInvalidError: a row is zero or not finite.
    """
    wide = np.asarray(raw, dtype=np.float64)
    lengths = np.linalg.norm(wide, axis=1, keepdims=True)
    if not np.isfinite(lengths).all() or (lengths < np.finfo(np.float32).eps).any():
        raise EmbeddingInvalidError
    rows: npt.NDArray[np.float32] = (wide / lengths).astype(np.float32)
    return rows
