"""Who runs an installation, and the texts that they publish."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class NoticeKind(StrEnum):
    """What a text is for."""

    PRIVACY = "privacy"
    """What people are told about their data."""
    CONSENT = "consent"
    """What people agree to before a face is computed."""


@dataclass(frozen=True, slots=True)
class SiteOperator:
    """Who runs this installation, and how to reach them."""

    name: str | None = None
    contact_email: str | None = None
    contact_url: str | None = None

    @property
    def has_contact(self) -> bool:
        """Whether people can reach them; if not, it is a test installation."""
        return bool(self.contact_email or self.contact_url)


@dataclass(frozen=True, slots=True)
class Notice:
    """One version of a text, in one language."""

    version: str
    language: str
    """A tag such as `vi` or `zh-Hant`."""
    body: str
    """Plain text; an empty line ends a paragraph."""
    published_at: datetime


@dataclass(frozen=True, slots=True)
class PublishedNotice(Notice):
    """A text with what the operator sees of it."""

    by_operator: bool
    """False for the one that comes with the product."""
    asks_again: bool
    """Whether people who agreed to an earlier text are asked again."""


def choose_notice(notices: Sequence[Notice], languages: Sequence[str]) -> Notice:
    """Return the text in the first of these languages that there is, else in English or any.

    Args:
        notices: one for each language, at least one.
        languages: tags in lower case, the preferred one first.
    """

    def rank(notice: Notice) -> tuple[int, bool]:
        tag = notice.language.lower()
        found = [languages.index(t) for t in (tag, tag.partition("-")[0]) if t in languages]
        return (min(found, default=len(languages)), tag != "en")

    return min(notices, key=rank)
