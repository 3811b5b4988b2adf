"""Matches, the feed, and suspected duplicates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Literal, Self, TypeAlias
from uuid import UUID

from automatch.model.faces import EyePlaces


class DuplicateState(StrEnum):
    """What an operator said of two accounts that look like one person."""

    OPEN = "open"
    """Nothing yet."""
    DISMISSED = "dismissed"
    """They are two people."""
    CONFIRMED = "confirmed"
    """They are one."""


@dataclass(frozen=True, slots=True)
class SuspectedDuplicate:
    """Two accounts whose closest photos look like one person; never with a name or a photo."""

    id: UUID
    profile_a_id: UUID
    profile_b_id: UUID
    same_gender: bool
    u: float
    """Distance of the two embeddings, sqrt(2 - 2 cos): the smaller, the surer."""
    model: str
    state: DuplicateState
    found_at: datetime
    decided_at: datetime | None
    decided_by: str | None
    held_face_ids: Sequence[UUID]
    """Photos of the two that are neither found nor searched for until this is decided."""


@dataclass(frozen=True, slots=True)
class FeedEntry:
    """One person in another's feed, at a position that only grows."""

    position: int
    profile_id: UUID
    match_id: UUID | None
    """None when the match is gone and its card should go too."""
    name: str | None
    school: str | None
    face_id: UUID | None
    """The other person's face."""
    own_face_id: UUID | None
    similarity: float | None
    """In steps of 0.05; 0.95 stands for that or more."""
    simulated: bool | None
    created_at: datetime
    last_match_id: UUID | None
    """The match of the card, also of one that is gone: after an erasure nothing else names it."""
    place: int = 0
    """Where it stands in the feed, which only news changes."""
    liked: bool = False
    """Whether the viewer likes the person."""
    mutual: bool = False
    """Whether both do; before that, nobody is told of the other's like."""
    was_mutual: bool = False
    """Whether both did until the other took it back, which the viewer has not seen yet."""
    sentence: str | None = None
    """What the person shares, once both like."""
    handle: str | None = None
    """Where else to find them, likewise."""
    is_new: bool = False
    """Whether its person has not been shown it yet, on any device."""


@dataclass(frozen=True, slots=True)
class Share:
    """What a person tells whoever they like and who likes them too: plain text."""

    sentence: str | None = None
    handle: str | None = None
    """Where else to find them, such as a name on another service."""


Show: TypeAlias = Literal["all", "new", "liked"]
Sort: TypeAlias = Literal["newest", "best"]


@dataclass(frozen=True, slots=True)
class FeedOrder:
    """Which matches of a feed are listed, and which first."""

    show: Show = "all"
    sort: Sort = "newest"


@dataclass(frozen=True, slots=True)
class FeedPlace:
    """Where a page of a feed ends: it goes on after this match."""

    place: int
    similarity: float | None = None
    """Of the match; where the best come first, a place alone says nothing."""


@dataclass(frozen=True, slots=True)
class MatchDetails(FeedEntry):
    """A match as its own page shows it."""

    eyes: EyePlaces | None = None
    """In the photo of the other person; None where that is not known."""
    own_eyes: EyePlaces | None = None
    threshold: float = 0
    """What a match has to reach."""

    @classmethod
    def from_row(
        cls, *, eyes: Mapping[str, Any] | None, own_eyes: Mapping[str, Any] | None, **row: Any
    ) -> Self:
        """Return the match of a row, in which the places of the eyes are JSON."""
        return cls(
            eyes=EyePlaces(**eyes) if eyes else None,
            own_eyes=EyePlaces(**own_eyes) if own_eyes else None,
            **row,
        )


@dataclass(frozen=True, slots=True)
class MatchPool:
    """Among how many people somebody is searched for; counts are rounded down to tens or more.

    0 stands for fewer than 10: an exact count would tell of single people.
    """

    school: int
    other_gender: int
    findable: int
    """Of the other gender, with consent and a photo, not paused, and not hidden on either side."""
    hidden: int
    """People whom the person dismissed or blocked themselves; exact."""
    threshold: float
    over_threshold: int | None = None
    """How many of the findable reach the threshold now; None where no one photo is asked about."""
