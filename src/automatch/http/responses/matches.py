"""Answers about matches: pages of the feed, and the events of the live stream."""

from __future__ import annotations

from typing import Self
from uuid import UUID

from pydantic import BaseModel

from automatch.auth.photo_links import PhotoLinks
from automatch.http.responses import Timestamp
from automatch.model.matches import FeedEntry
from automatch.model.people import Claims
from automatch.services.matching.matches import FeedPage


class MatchedProfile(BaseModel):
    """The other person of a match."""

    id: UUID
    name: str | None
    school: str | None


class MatchedFace(BaseModel):
    """The face of the other person."""

    id: UUID
    image_url: str
    """A signed link that works for five minutes."""


class SharedTexts(BaseModel):
    """What a person tells whoever they like and who likes them too: plain text."""

    sentence: str | None
    handle: str | None
    """Where else to find them."""


class LikeResponse(BaseModel):
    """Whether the caller likes somebody, and whether both do."""

    liked: bool
    mutual: bool


class MatchResponse(BaseModel):
    """One match, as one of the two people sees it."""

    id: UUID
    profile: MatchedProfile
    face: MatchedFace
    own_face_id: UUID
    similarity: float
    """From 0 to 1 in steps of 0.05; 0.95 stands for that or more."""
    simulated: bool
    created_at: Timestamp
    liked: bool
    """Whether the caller likes the person, who is told only once they like the caller too."""
    mutual: bool
    was_mutual: bool
    """Whether both did until the other took it back; false again once the match was seen."""
    shared: SharedTexts | None
    """What the person shares; null until both like, and when either takes it back."""

    @classmethod
    def from_entry(cls, entry: FeedEntry, photo_links: PhotoLinks, viewer: Claims) -> Self:
        """Return the answer about an entry of the feed that still has its match."""
        assert entry.match_id is not None
        assert entry.face_id is not None
        assert entry.own_face_id is not None
        assert entry.similarity is not None
        return cls(
            id=entry.match_id,
            profile=MatchedProfile(id=entry.profile_id, name=entry.name, school=entry.school),
            face=MatchedFace(id=entry.face_id, image_url=photo_links.sign(entry.face_id, viewer)),
            own_face_id=entry.own_face_id,
            similarity=entry.similarity,
            simulated=bool(entry.simulated),
            created_at=entry.created_at,
            liked=entry.liked,
            mutual=entry.mutual,
            was_mutual=entry.was_mutual,
            shared=(
                SharedTexts(sentence=entry.sentence, handle=entry.handle)
                if entry.sentence or entry.handle
                else None
            ),
        )


class MatchesResponse(BaseModel):
    """A page of the feed, newest first."""

    matches: list[MatchResponse]
    next_cursor: int | None
    """`cursor` of the next page; null on the last one."""
    last_event_id: int
    """`GET /api/matches/stream?after=` goes on here without a gap."""

    @classmethod
    def from_page(cls, page: FeedPage, photo_links: PhotoLinks, viewer: Claims) -> Self:
        """Return the answer about a page of the feed."""
        return cls(
            matches=[
                MatchResponse.from_entry(entry, photo_links, viewer) for entry in page.entries
            ],
            next_cursor=page.next_cursor,
            last_event_id=page.position,
        )
