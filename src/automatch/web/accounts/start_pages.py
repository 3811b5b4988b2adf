"""The first page for strangers, and the style guide of an installation in development."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from fastapi import APIRouter, Request
from starlette.responses import Response

from automatch.errors.request import NotFoundError
from automatch.http.declaration import Access, declare
from automatch.http.deps import Services, ServicesDep
from automatch.store.operators import operators
from automatch.web.language import gettext as _
from automatch.web.language import text_field
from automatch.web.pages import PageRoute, go_to, is_signed_in, show
from automatch.web.templating import Page, list_drawings

_OWN_NAMES = {"localhost", "127.0.0.1", "::1"}

router = APIRouter(route_class=PageRoute, include_in_schema=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class StartPage(Page):
    """What Auto-Match is, for somebody who is not signed in."""

    template: ClassVar[str] = "start.html"
    title: str = text_field("See who looks like you")
    is_unused: bool = False
    """Whether to say what to do first; only somebody at this computer is told."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StyleGuidePage(Page):
    """All components in all their states; not translated, because no user sees it."""

    template: ClassVar[str] = "styleguide.html"
    title: str = "Style guide"
    signed_in: bool = True
    drawings: tuple[str, ...]
    icons: tuple[str, ...]

    @classmethod
    def whole(cls) -> StyleGuidePage:
        """Return the page with each drawing and icon there is."""
        return cls(drawings=list_drawings("drawings"), icons=list_drawings("icons"))


@router.get("/")
@declare(Access.PAGE_COOKIE)
async def start(request: Request, services: ServicesDep) -> Response:
    """Show strangers what this is, and people their feed."""
    if is_signed_in(request):
        return go_to("/feed")
    is_unused = False
    if _is_at_this_machine(request, services):
        async with services.db.connection() as conn:
            is_unused = not await operators.has_owner(conn)
    return show(StartPage(is_unused=is_unused))


@router.get("/styleguide")
@declare(Access.PAGE_COOKIE)
async def style_guide(request: Request, services: ServicesDep) -> Response:
    """Show the components of pages, on a machine of one's own."""
    if not _is_at_this_machine(request, services):
        raise NotFoundError(_("There is no such page."))
    return show(StyleGuidePage.whole())


def _is_at_this_machine(request: Request, services: Services) -> bool:
    """Return whether a browser on this machine asks, and not a proxy for somebody else."""
    return (
        services.settings.is_in_development
        and request.url.hostname in _OWN_NAMES
        and "x-forwarded-for" not in request.headers
    )
