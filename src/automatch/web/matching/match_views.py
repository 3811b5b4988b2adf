"""View models of one look-alike: both faces at one size, and what the percentage means."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Self
from urllib.parse import urlencode

from automatch.model.matches import FeedOrder
from automatch.web.language import as_percent
from automatch.web.language import gettext as _
from automatch.web.matching.feed_views import Card, address_in
from automatch.web.templating import Page, photo_address

if TYPE_CHECKING:
    from uuid import UUID

    from automatch.model.faces import EyePlaces
    from automatch.services.matching.matches import MatchView

_UNIT = 1000
"""The width of a kept copy in the drawing; browsers round what is drawn in tiny units."""
_LEFT_EYE, _RIGHT_EYE = 142 + 212j, 258 + 212j
"""Where every face has its eyes, in a frame of 400 by 500."""


@dataclass(frozen=True, slots=True)
class AlignedFace:
    """A photo, and how a frame of 400 by 500 shows it so that its eyes lie where all have them."""

    thumbnail: str
    """Address; it is there first and fills the frame until the whole photo is."""
    full: str | None
    """Address; None where only the thumbnail can be placed."""
    transform: str
    """Of the whole photo, which is 1,000 units wide, into the frame."""
    height: float
    """Of the whole photo, in those units."""
    square: tuple[float, float, float]
    """Left edge, top edge and side of the thumbnail, in those units."""

    @classmethod
    def of(cls, face_id: UUID, eyes: EyePlaces | None) -> Self:
        """Return how to show a photo, in the middle if nobody knows where its eyes are."""
        thumbnail = photo_address(face_id)
        if eyes is None or eyes.left == eyes.right:
            return cls(thumbnail, None, "translate(-50 0)", 0, (0, 0, 500))
        left, right = (complex(*point) * _UNIT for point in (eyes.left, eyes.right))
        # A turn and a scale in one: the complex number that brings one line onto the other.
        turn = (_RIGHT_EYE - _LEFT_EYE) / (right - left)
        shift = _LEFT_EYE - turn * left
        numbers = (turn.real, turn.imag, -turn.imag, turn.real, shift.real, shift.imag)
        edge, top, side = (share * _UNIT for share in eyes.thumbnail)
        return cls(
            thumbnail,
            photo_address(face_id, "full"),
            f"matrix({' '.join(f'{number:.4f}' for number in numbers)})",
            round(eyes.height * _UNIT, 1),
            (round(edge, 1), round(top, 1), round(side, 1)),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class MatchPage(Page):
    """One look-alike beside the person's own photo."""

    template: ClassVar[str] = "match.html"
    section: ClassVar[str] = "feed"
    signed_in: bool = True
    card: Card
    own: AlignedFace
    other: AlignedFace
    threshold: int
    """Percent that a match has to reach."""
    previous: str | None
    """Address of the match before this one; None for the first."""
    next: str | None
    back: str
    """Address of the feed that this match was found in."""

    @classmethod
    def from_view(cls, view: MatchView, order: FeedOrder, *, since: int) -> Self:
        """Return the page of a match of the caller."""
        match = view.match
        card = Card.from_entry(match, order)
        assert card is not None
        assert match.face_id is not None
        assert match.own_face_id is not None

        def address(match_id: UUID | None) -> str | None:
            more = {"since": since} if order.show == "new" else {}
            return address_in(f"/matches/{match_id}", order, **more) if match_id else None

        return cls(
            title=card.name,
            card=card,
            own=AlignedFace.of(match.own_face_id, match.own_eyes),
            other=AlignedFace.of(match.face_id, match.eyes),
            threshold=round(match.threshold * 100),
            previous=address(view.previous_id),
            next=address(view.next_id),
            back=address_in("/feed", order),
            new_count=view.new_count,
        )

    @property
    def onward(self) -> str:
        """What the address of an act that hides this one says to lead on to: the next one."""
        return "?" + urlencode({"to": self.next or self.previous or self.back})

    @property
    def score(self) -> str:
        """The percentage in words."""
        if self.card.similarity >= 90:
            return _("Strikingly alike")
        if self.card.similarity >= 75:
            return _("Very alike")
        if self.card.similarity >= 60:
            return _("Clearly alike")
        return _("A bit alike")

    @property
    def least(self) -> str:
        """The percentage from which on people are shown to each other."""
        return as_percent(self.threshold)


@dataclass(frozen=True, slots=True, kw_only=True)
class GonePage(Page):
    """Said instead of a match that is no longer there, or never was."""

    template: ClassVar[str] = "match_gone.html"
    section: ClassVar[str] = "feed"
    signed_in: bool = True
    order: FeedOrder

    @property
    def back(self) -> str:
        """Address of the feed."""
        return address_in("/feed", self.order)
