"""What makes the pages an app: its manifest, its service worker, and the page shown offline."""

from __future__ import annotations

import json
from functools import cache
from typing import ClassVar

from fastapi import APIRouter
from starlette.responses import JSONResponse, Response

from automatch.http.declaration import Access, declare
from automatch.web.language import gettext as _
from automatch.web.pages import PageRoute, show
from automatch.web.templating import STATIC_FOLDER, Page, static_address, static_version

router = APIRouter(route_class=PageRoute, include_in_schema=False)

OFFLINE = "/offline"
_PAPER = "#fcfafa"
"""The colour of the pages, behind the icon while the app starts."""
_ICONS = (
    ("icons/192.png", "192x192", "any"),
    ("icons/512.png", "512x512", "any"),
    ("icons/maskable.png", "512x512", "maskable"),
)
_SHELL = (".css", ".js", ".svg", ".woff2")
"""The static files that the pages of people need, by their ends."""
_NOT_SHELL = ("chart", "console", "service_worker", "styleguide")
"""What operators and developers see, and what the browser keeps by itself."""


class OfflinePage(Page):
    """What an installed app shows when there is no network; it is about nobody."""

    template: ClassVar[str] = "offline.html"


@router.get("/manifest.webmanifest")
@declare(Access.PAGE_COOKIE)
async def manifest() -> Response:
    """Describe the app to the browser that installs it."""
    content = {
        "id": "/",
        "name": "Auto-Match",
        "short_name": "Auto-Match",
        "description": _("See who looks like you at your school."),
        "start_url": "/feed",
        "scope": "/",
        "display": "standalone",
        "background_color": _PAPER,
        "theme_color": _PAPER,
        "icons": [
            {"src": static_address(path), "sizes": sizes, "type": "image/png", "purpose": purpose}
            for path, sizes, purpose in _ICONS
        ],
        "shortcuts": [
            {"name": _("Look-alikes"), "url": "/feed"},
            {"name": _("Profile"), "url": "/profile"},
        ],
    }
    return JSONResponse(content, media_type="application/manifest+json")


@router.get("/sw.js")
@declare(Access.ANYONE)
async def service_worker() -> Response:
    """Send the service worker, which changes with the static files."""
    # Browsers look for a new one by themselves, at most a day after they had the last.
    return Response(
        _service_worker(), media_type="text/javascript", headers={"cache-control": "no-cache"}
    )


@router.get(OFFLINE)
@declare(Access.PAGE_COOKIE)
async def offline() -> Response:
    """Show what the app shows without a network, for the service worker to keep."""
    return show(OfflinePage(title=_("You're offline")))


@cache
def _service_worker() -> str:
    shell = {
        "version": static_version(),
        "offline": OFFLINE,
        "icon": static_address("icons/192.png"),
        "files": [
            static_address(str(path.relative_to(STATIC_FOLDER)))
            for path in sorted(STATIC_FOLDER.glob("*"))
            if path.suffix in _SHELL and not path.name.startswith(_NOT_SHELL)
        ],
    }
    script = (STATIC_FOLDER / "service_worker.js").read_text()
    return f"const SHELL = {json.dumps(shell)};\n\n{script}"
