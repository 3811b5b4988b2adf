"""What people do about a match: like it, take that back, hide somebody, and undo all of it."""

from __future__ import annotations

from uuid import UUID

from fastapi import APIRouter, Request
from starlette.responses import Response

from automatch.http.declaration import Access, declare
from automatch.http.deps import ServicesDep
from automatch.services.accounts.rate_limits import Limit
from automatch.services.people.profiles import unhide_person
from automatch.store.matching import feed
from automatch.web.pages import PageRoute, SenderDep, tell
from automatch.web.undo import PersonAct

router = APIRouter(route_class=PageRoute, include_in_schema=False)


@router.post("/people/{profile_id}/like")
@declare(Access.PAGE_COOKIE, limits=(Limit.LIKES,))
async def like(
    profile_id: UUID, request: Request, caller: SenderDep, services: ServicesDep
) -> Response:
    """Like a person."""
    async with services.db.as_user(caller.claims) as conn:
        both = await feed.like_profile(conn, profile_id)
    return tell(request, services, PersonAct.BOTH_LIKE if both else PersonAct.LIKED, profile_id)


@router.post("/people/{profile_id}/unlike")
@declare(Access.PAGE_COOKIE)
async def unlike(
    profile_id: UUID, request: Request, caller: SenderDep, services: ServicesDep
) -> Response:
    """Take a like back."""
    async with services.db.as_user(caller.claims) as conn:
        await feed.unlike_profile(conn, profile_id)
    return tell(request, services, PersonAct.UNLIKED, profile_id)


@router.post("/matches/{match_id}/dismiss")
@declare(Access.PAGE_COOKIE)
async def dismiss(
    match_id: UUID, request: Request, caller: SenderDep, services: ServicesDep
) -> Response:
    """Say that a match is not a look-alike."""
    async with services.db.as_user(caller.claims) as conn:
        other = await feed.dismiss_match(conn, match_id)
    return tell(request, services, PersonAct.DISMISSED, other, back="/feed")


@router.post("/people/{profile_id}/block")
@declare(Access.PAGE_COOKIE)
async def block(
    profile_id: UUID, request: Request, caller: SenderDep, services: ServicesDep
) -> Response:
    """Block a person: neither sees the other."""
    async with services.db.as_user(caller.claims) as conn:
        await feed.block_profile(conn, profile_id)
    return tell(request, services, PersonAct.BLOCKED, profile_id, back="/feed")


@router.post("/people/{profile_id}/show-again")
@declare(Access.PAGE_COOKIE)
async def show_again(
    profile_id: UUID, request: Request, caller: SenderDep, services: ServicesDep
) -> Response:
    """Show a person again who was blocked, dismissed or both."""
    await unhide_person(services.db, caller.claims, profile_id)
    return tell(request, services, PersonAct.SHOWN, profile_id)


@router.post("/reports/{case_id}/withdraw")
@declare(Access.PAGE_COOKIE)
async def withdraw_report(
    case_id: UUID, request: Request, caller: SenderDep, services: ServicesDep
) -> Response:
    """Take back a report that was just made."""
    await services.reports.withdraw(caller.claims, case_id)
    return tell(request, services, PersonAct.WITHDRAWN, case_id)
