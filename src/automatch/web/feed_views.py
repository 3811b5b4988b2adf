"""View models of the feed: its page, the cards of look-alikes, and the person's own photos."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Self

from automatch.web.language import text_field
from automatch.web.own_photos import JobItem
from automatch.web.templating import Page, photo_address
from automatch.web.waiting_views import Waiting

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime
    from uuid import UUID

    from jinja2 import Environment

    from automatch.model.faces import Face
    from automatch.model.matches import FeedEntry
    from automatch.model.people import Profile
    from automatch.web.report_views import HiddenNotice

_UNKNOWN_NAME = "Someone"
_TOP_PERCENT = 95
"""The most that the database shows of a similarity."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """One look-alike in the feed."""

    profile_id: UUID
    match_id: UUID
    position: int
    name: str
    school: str
    photo: str
    """Address of the thumbnail."""
    photo_full: str
    own_photo: str | None
    """Address of the thumbnail of the viewer's photo that matched."""
    similarity: int
    """Percent."""
    simulated: bool
    created_at: datetime
    is_new: bool = False
    """Whether the card is marked as new."""
    liked: bool = False
    mutual: bool = False
    """Whether both like each other: then the person's texts are shown."""
    sentence: str | None = None
    handle: str | None = None

    @classmethod
    def from_entry(cls, entry: FeedEntry, *, is_new: bool = False) -> Self | None:
        """Return the card of a feed entry; None when the match is gone and the card should go."""
        if entry.match_id is None or entry.face_id is None or entry.similarity is None:
            return None
        own = entry.own_face_id
        return cls(
            profile_id=entry.profile_id,
            match_id=entry.match_id,
            position=entry.position,
            name=entry.name or _UNKNOWN_NAME,
            school=entry.school or "",
            photo=photo_address(entry.face_id),
            photo_full=photo_address(entry.face_id, "full"),
            own_photo=photo_address(own) if own else None,
            similarity=round(entry.similarity * 100),
            simulated=bool(entry.simulated),
            created_at=entry.created_at,
            is_new=is_new,
            liked=entry.liked,
            mutual=entry.mutual,
            sentence=entry.sentence,
            handle=entry.handle,
        )

    @property
    def alike(self) -> str:
        """The similarity in words; above the top step people are not told how much."""
        return f"{self.similarity}%" + (" or more" if self.similarity >= _TOP_PERCENT else "")

    @property
    def announcement(self) -> str:
        """The announcement of a new card for screen readers."""
        return f"{self.name}, {self.alike}"


@dataclass(frozen=True, slots=True, kw_only=True)
class FeedPage(Page):
    """The upload box, the person's photos and the look-alikes, newest first."""

    template: ClassVar[str] = "feed.html"
    section: ClassVar[str] = "feed"
    title: str = text_field("Your look-alikes")
    signed_in: bool = True
    profile: Profile
    faces: Sequence[Face]
    jobs: Sequence[JobItem]
    """Newest first."""
    cards: Sequence[Card]
    last_position: int
    """The stream continues after this position of the feed."""
    older_cursor: int | None
    """The parameter `before` of the next older page; None on the last one."""
    uploads_refused_reason: str | None = None
    """Why uploads are not allowed, shown with a link to the profile."""
    consent_outdated: bool = False
    """Whether the person is asked to agree to a newer text first."""
    max_upload_mb: int
    kept_side: int
    """Pixels of the longest side that the server keeps; the page scales a photo down to it."""
    is_newest: bool = True
    """False on an older page, which is not live and has no upload form."""
    notices: Sequence[HiddenNotice] = ()
    """What of the person is hidden from others."""
    waiting: Waiting | None = None
    """Why nobody is looked for now."""

    @property
    def faces_without_job(self) -> list[Face]:
        """Photos whose job was cleaned up; they are still matched."""
        listed = {job.face_id for job in self.jobs}
        return [face for face in self.faces if face.id not in listed]


def render_card(templates: Environment, card: Card) -> str:
    """Return the `<li>` of a card, for the page and the stream."""
    return templates.get_template("_card.html").render(card=card).strip()
