"""The page with the privacy notice, in the reader's language."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import ClassVar, Self

from fastapi import APIRouter, Request
from starlette.responses import Response

from automatch.http.declaration import Access, declare
from automatch.http.deps import LanguagesDep, ServicesDep
from automatch.language.catalogue import LANGUAGES
from automatch.model.notices import Notice, NoticeKind, choose_notice
from automatch.store.operators import notices
from automatch.web.language import text_field
from automatch.web.pages import PageRoute, is_signed_in, show
from automatch.web.templating import Page

router = APIRouter(route_class=PageRoute, include_in_schema=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class PrivacyPage(Page):
    """What people are told about their data."""

    template: ClassVar[str] = "privacy.html"
    title: str = text_field("Privacy")
    version: str
    notice_language: str
    paragraphs: Sequence[str]
    published_at: datetime
    others: Sequence[tuple[str, str]] = ()
    """The other languages that the notice can be read in, as (tag, name)."""

    @classmethod
    def from_notice(cls, notice: Notice, *, others: Sequence[Notice], signed_in: bool) -> Self:
        """Return the page of a notice, with links to the others."""
        return cls(
            version=notice.version,
            notice_language=notice.language,
            paragraphs=re.split(r"\n\s*\n", notice.body),
            published_at=notice.published_at,
            others=[(o.language, LANGUAGES.get(o.language, o.language)) for o in others],
            signed_in=signed_in,
        )


@router.get("/privacy")
@declare(Access.PAGE_COOKIE)
async def privacy(
    request: Request, services: ServicesDep, languages: LanguagesDep, language: str = ""
) -> Response:
    """Show the privacy notice, in the language that was asked for or that the browser prefers."""
    async with services.db.connection() as conn:
        current = await notices.list_current(conn, NoticeKind.PRIVACY)
    notice = choose_notice(current, [language.lower(), *languages])
    others = [other for other in current if other is not notice]
    return show(PrivacyPage.from_notice(notice, others=others, signed_in=is_signed_in(request)))
