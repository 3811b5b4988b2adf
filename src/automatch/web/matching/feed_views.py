"""View models of the feed: its page and the cards of look-alikes."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar, Self
from urllib.parse import urlencode

from automatch.model.jobs import JobStatus
from automatch.model.matches import FeedOrder
from automatch.web.language import as_percent, text_field
from automatch.web.language import gettext as _
from automatch.web.matching.empty_views import Empty, find_empty
from automatch.web.photos.own_photos import OwnPhotosPage
from automatch.web.photos.waiting_views import Waiting
from automatch.web.templating import photo_address

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime
    from uuid import UUID

    from jinja2 import Environment

    from automatch.model.matches import FeedEntry, FeedPlace, MatchPool, Show, Sort
    from automatch.model.people import Profile
    from automatch.web.protection.report_views import HiddenNotice

_TOP_PERCENT = 95
"""The most that the database shows of a similarity."""
_DEFAULT = FeedOrder()


def address_in(path: str, order: FeedOrder, **more: object) -> str:
    """Return an address with what an order of the feed and *more* add to it."""
    names = {
        name: value
        for name, value in (("show", order.show), ("sort", order.sort), *more.items())
        if value not in {None, _DEFAULT.show, _DEFAULT.sort}
    }
    return f"{path}?{urlencode(names)}" if names else path


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """One look-alike in the feed."""

    profile_id: UUID
    match_id: UUID
    place: int
    """Where it stands in the feed."""
    name: str
    school: str
    photo: str
    """Address of the thumbnail."""
    address: str
    """Of the page that compares the two."""
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
    was_mutual: bool = False
    """Whether both did, which the viewer is still to be told."""
    sentence: str | None = None
    handle: str | None = None

    @classmethod
    def from_entry(cls, entry: FeedEntry, order: FeedOrder = _DEFAULT) -> Self | None:
        """Return the card of a feed entry; None when the match is gone and the card should go.

        Its page goes on to the next in the *order* of the feed.
        """
        if entry.match_id is None or entry.face_id is None or entry.similarity is None:
            return None
        own = entry.own_face_id
        return cls(
            profile_id=entry.profile_id,
            match_id=entry.match_id,
            place=entry.place,
            name=entry.name or _("Someone"),
            school=entry.school or "",
            photo=photo_address(entry.face_id),
            address=address_in(f"/matches/{entry.match_id}", order),
            own_photo=photo_address(own) if own else None,
            similarity=round(entry.similarity * 100),
            simulated=bool(entry.simulated),
            created_at=entry.created_at,
            is_new=entry.is_new,
            liked=entry.liked,
            mutual=entry.mutual,
            was_mutual=entry.was_mutual,
            sentence=entry.sentence,
            handle=entry.handle,
        )

    @property
    def alike(self) -> str:
        """The similarity in words; above the top step people are not told how much."""
        percent = as_percent(self.similarity)
        if self.similarity >= _TOP_PERCENT:
            return _("%(percent)s or more", percent=percent)
        return percent

    @property
    def short_alike(self) -> str:
        """The similarity where there is no room for words."""
        return as_percent(self.similarity) + ("+" if self.similarity >= _TOP_PERCENT else "")

    @property
    def announcement(self) -> str:
        """The announcement of a new card for screen readers."""
        return f"{self.name}, {self.alike}"


@dataclass(frozen=True, slots=True)
class Choice:
    """A link to another list of the feed."""

    text: str
    address: str
    is_chosen: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class FeedPage(OwnPhotosPage):
    """The person's newest photos in a row, and their look-alikes in the order they chose."""

    template: ClassVar[str] = "feed.html"
    section: ClassVar[str] = "feed"
    title: str = text_field("Your look-alikes")
    profile: Profile
    cards: Sequence[Card]
    last_position: int
    """The stream continues after this position of the feed."""
    order: FeedOrder = _DEFAULT
    next_place: FeedPlace | None = None
    """Where the next page goes on; None on the last one."""
    consent_outdated: bool = False
    """Whether the person is asked to agree to a newer text first."""
    is_newest: bool = True
    """False on an older page, which is not live and has no upload form."""
    notices: Sequence[HiddenNotice] = ()
    """What of the person is hidden from others."""
    waiting: Waiting | None = None
    """Why nobody is looked for now."""
    pool: MatchPool | None = None
    """Among how many people the person is searched for, where a photo found few of them."""
    is_paused: bool = False
    """Whether an operator has paused the searches of the person's school."""

    @property
    def empty(self) -> Empty:
        """What is said in place of cards."""
        return find_empty(
            show=self.order.show,
            is_newest=self.is_newest,
            jobs=self.jobs,
            has_photo=bool(self.faces_without_job)
            or any(job.status is JobStatus.COMPLETED for job in self.jobs),
            discoverable=self.profile.discoverable,
            is_paused=self.is_paused,
            pool=self.pool,
            waiting=self.waiting,
        )

    @property
    def next_address(self) -> str | None:
        """The address of the next page; None on the last one."""
        if (place := self.next_place) is None:
            return None
        similarity = place.similarity if self.order.sort == "best" else None
        return address_in("/feed", self.order, before=place.place, similarity=similarity)

    @property
    def address(self) -> str:
        """The address of the feed in this order."""
        return address_in("/feed", self.order)

    @property
    def is_filtered(self) -> bool:
        """Whether the person has asked for another list than the usual one."""
        return self.order != _DEFAULT

    @property
    def choices(self) -> list[Choice]:
        """What can be listed."""
        shown: dict[Show, str] = {"all": _("All"), "new": _("New"), "liked": _("Liked")}
        return [
            Choice(
                text,
                address_in("/feed", replace(self.order, show=show)),
                is_chosen=show == self.order.show,
            )
            for show, text in shown.items()
        ]

    @property
    def sort_address(self) -> str:
        """The address of the other order."""
        other: Sort = "newest" if self.order.sort == "best" else "best"
        return address_in("/feed", replace(self.order, sort=other))


def render_card(templates: Environment, card: Card) -> str:
    """Return the `<li>` of a card, for the page and the stream."""
    return templates.get_template("_card.html").render(card=card).strip()
