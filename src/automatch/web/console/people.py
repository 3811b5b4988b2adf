"""The console's pages of people."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from fastapi import APIRouter
from starlette.responses import Response

from automatch.http.declaration import Access, declare
from automatch.http.deps import ServicesDep
from automatch.services import people
from automatch.services.acts import Act
from automatch.web.console.frame import ConsolePage, ConsoleRoute, MeDep, show
from automatch.web.pages import go_to

if TYPE_CHECKING:
    from automatch.model.people import FoundPerson

router = APIRouter(prefix="/admin", route_class=ConsoleRoute, include_in_schema=False)

_LIMIT = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class PeoplePage(ConsolePage):
    """Search for people."""

    template: ClassVar[str] = "console/people.html"
    section: ClassVar[str] = "people"
    title: str = "People"
    query: str
    found: Sequence[FoundPerson] | None
    """None before anybody was looked for."""
    limit: int = _LIMIT


@router.get("")
@declare(Access.CONSOLE)
async def start(_: MeDep) -> Response:
    """Go to the first page."""
    return go_to("/admin/people")


@router.get("/people")
@declare(Access.CONSOLE, act=Act.FIND_PEOPLE)
async def find_people(me: MeDep, services: ServicesDep, q: str = "") -> Response:
    """Show who is found by an address, a name or an id."""
    query = q.replace("\0", "").strip()
    found = await people.find_people(services.db, me, query, _LIMIT) if query else None
    return show(PeoplePage(me=me, query=query, found=found))
