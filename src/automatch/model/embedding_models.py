"""Face models and the change from one to another."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID


@dataclass(frozen=True, slots=True)
class EmbeddingModel:
    """A model with the similarity scale that is in use."""

    id: str
    midpoint: float
    width: float
    same_person_u: float
    scale_version: int


@dataclass(frozen=True, slots=True)
class ModelChange:
    """A change of the face model that is not over."""

    model: str
    before: str
    state: str
    """`preparing`, `active` (the new model is in use) or `rolled_back`."""
    is_ready: bool
    """The new model has seen every photo."""
    total: int
    """Photos when it began."""
    done: int
    refused: int
    waiting: int
    """Photos that the model which is not in use has yet to see, as far as they are listed."""
    started_at: datetime
    activated_at: datetime | None


@dataclass(frozen=True, slots=True)
class RefusedPhotos:
    """Photos that a model does not see, for one reason."""

    code: str
    message: str
    faces: int
    examples: list[UUID]


@dataclass(frozen=True, slots=True)
class ModelComparison:
    """What another model would change, by searches for some photos."""

    photos: int
    matches_before: int
    matches_after: int
    in_both: int
    without_before: int
    """Photos that find nobody now."""
    without_after: int
    examples: list[dict[str, Any]]
    """The strongest that go (`after` is null) and come (`before` is null), by the ids of faces."""
