"""The page on which a person shows before the camera that a photo is their own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from automatch.web.language import text_field
from automatch.web.templating import Page

if TYPE_CHECKING:
    from uuid import UUID


@dataclass(frozen=True, slots=True, kw_only=True)
class ChallengePage(Page):
    """What is asked for, and what happens without a camera."""

    template: ClassVar[str] = "challenge.html"
    section: ClassVar[str] = "feed"
    title: str = text_field("Is it you?")
    signed_in: bool = True
    face_id: UUID
