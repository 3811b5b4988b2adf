"""The page of one look-alike, and noting which of them a person was shown."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query, Request
from starlette.responses import JSONResponse, Response

from automatch.errors.request import InputInvalidError
from automatch.http.declaration import Access, declare
from automatch.http.deps import CallerDep, ServicesDep
from automatch.services.accounts.rate_limits import Limit
from automatch.services.matching.matches import load_match, mark_seen
from automatch.web.language import gettext as _
from automatch.web.matching.match_views import GonePage, MatchPage
from automatch.web.pages import OrderDep, PageResponse, PageRoute, read_form
from automatch.web.pages import show as show_page

router = APIRouter(route_class=PageRoute, include_in_schema=False)

_MOST_SEEN = 100
"""How many matches a page tells at once that it has shown."""
_LATEST = 32_503_680_000
"""The year 3000, in seconds."""


@router.get("/matches/{match_id}")
@declare(Access.PAGE_COOKIE, limits=(Limit.FEED,))
async def match(
    match_id: UUID,
    caller: CallerDep,
    services: ServicesDep,
    order: OrderDep,
    since: Annotated[int | None, Query(ge=0, le=_LATEST)] = None,
) -> Response:
    """Show the two faces of a match beside each other; the caller has seen it then."""
    # Who goes through what is new still finds their way back.
    began = datetime.fromtimestamp(since, UTC) if since is not None else datetime.now(UTC)
    view = await load_match(services.db, caller.claims, match_id, order, since=began)
    if view is None:
        return PageResponse(
            GonePage(title=_("This look-alike is gone"), order=order), HTTPStatus.NOT_FOUND
        )
    page = MatchPage.from_view(view, order, since=int(began.timestamp()))
    return show_page(replace(page, person_id=caller.id))


@router.post("/feed/seen")
@declare(Access.PAGE_COOKIE, limits=(Limit.FEED,))
async def seen(request: Request, caller: CallerDep, services: ServicesDep) -> Response:
    """Note which matches a page has shown; a script asks, whose page then says what is new."""
    form = await read_form(request)
    try:
        match_ids = [UUID(str(value)) for value in form.getlist("match")]
    except ValueError as exc:
        raise InputInvalidError from exc
    count = await mark_seen(services.db, caller.claims, match_ids[:_MOST_SEEN])
    return JSONResponse({"new": count})
