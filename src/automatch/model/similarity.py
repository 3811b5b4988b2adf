"""Similarity scales and thresholds."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any


@dataclass(frozen=True, slots=True)
class StoredScale:
    """A version of a model's similarity scale."""

    version: int
    model: str
    midpoint: float
    width: float
    fit: dict[str, Any] | None
    """How it was calibrated; None for one that came with the model or was written by hand."""
    actor: str | None
    created_at: datetime
    is_in_use: bool
    matches: int
    """Matches that are scored with it this moment."""


@dataclass(frozen=True, slots=True)
class ComparablePeople:
    """Who there is to calibrate a scale on: people with a photo who can be found."""

    women: int
    men: int
    schools: int
    pairs: int
    """Of opposite gender, inside schools."""

    @property
    def total(self) -> int:
        return self.women + self.men


@dataclass(frozen=True, slots=True)
class ThresholdPreview:
    """What a threshold would mean for the people there are."""

    threshold: float
    people: int
    """Everybody who can be found."""
    looked_at: int
    """How many of them, taken by chance, the numbers come from."""
    matches: float
    """People who reach the threshold, for one person on average."""
    median_matches: float
    without_any: int
    """People of all for whom nobody reaches it."""


@dataclass(frozen=True, slots=True)
class MatchThreshold:
    """The threshold in use, and what a search again for everybody would cost."""

    threshold: float
    match_count: int
    """Most matches of one search."""
    photos: int
    """Jobs that a search again for everybody takes."""
    rerun_left: int
    """Photos that one which goes on has still to queue."""
