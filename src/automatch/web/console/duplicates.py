"""The console's pages of accounts that look like one person."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar
from uuid import UUID

from fastapi import APIRouter, Request
from starlette.responses import Response

from automatch.errors.request import InputInvalidError, NotFoundError
from automatch.http.declaration import Access, declare
from automatch.http.deps import ServicesDep
from automatch.http.security_headers import POLICY_WITH_PHOTOS
from automatch.model.matches import DuplicateState, SuspectedDuplicate
from automatch.services.operators.acts import Act
from automatch.services.protection import cases, duplicates
from automatch.web.console.frame import ConfirmPage, ConsolePage, ConsoleRoute, MeDep, show
from automatch.web.pages import go_to, read_form, text_of
from automatch.web.templating import Problem

router = APIRouter(prefix="/admin/duplicates", route_class=ConsoleRoute, include_in_schema=False)

_LIMIT = 50
_STATES = {
    "open": "To decide",
    "dismissed": "Two people",
    "confirmed": "One person",
    "all": "All",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class DuplicatesPage(ConsolePage):
    """Pairs of accounts, closest first."""

    template: ClassVar[str] = "console/duplicates.html"
    section: ClassVar[str] = "duplicates"
    title: str = "Duplicates"
    state: str
    pairs: Sequence[SuspectedDuplicate]
    match: bool
    """Whether such pairs match like any two people."""
    limit: int = _LIMIT

    @property
    def states(self) -> list[tuple[str, str]]:
        """What may be looked at."""
        return list(_STATES.items())

    @property
    def state_names(self) -> dict[str, str]:
        """What a state is called."""
        return _STATES


@dataclass(frozen=True, slots=True, kw_only=True)
class DuplicatePage(ConsolePage):
    """One pair, side by side."""

    template: ClassVar[str] = "console/duplicate.html"
    section: ClassVar[str] = "duplicates"
    title: str = "Two accounts"
    pair: SuspectedDuplicate
    photos: Sequence[str | None] = ()
    """The first photo of each, as an address that holds it; None where there is none to see."""
    reason: str = ""

    @property
    def state_name(self) -> str:
        """What its state is called."""
        return _STATES[self.pair.state.value]

    @property
    def accounts(self) -> list[UUID]:
        """The two accounts."""
        return [self.pair.profile_a_id, self.pair.profile_b_id]


@router.get("")
@declare(Access.CONSOLE, act=Act.LIST_DUPLICATES)
async def list_pairs(me: MeDep, services: ServicesDep, state: str = "open") -> Response:
    """Show the pairs of a state."""
    state = state if state in _STATES else "open"
    only = None if state == "all" else DuplicateState(state)
    found = await duplicates.load_duplicates_overview(services.db, me, only, _LIMIT)
    return show(DuplicatesPage(me=me, state=state, pairs=found.duplicates, match=found.match))


@router.get("/matching")
@declare(Access.CONSOLE, act=Act.SET_DUPLICATE_MATCHING)
async def confirm_matching(me: MeDep, match: str = "no") -> Response:
    """Say what the switch does, and ask."""
    wanted = match == "yes"
    return show(
        ConfirmPage(
            me=me,
            title="Let such pairs match" if wanted else "Keep such pairs from matching",
            act=Act.SET_DUPLICATE_MATCHING,
            facts=[
                "They match like any two people again, in both feeds at once."
                if wanted
                else "Their matches leave both feeds at once, and come back if you undo this.",
                "Pairs that you decided to be two people match in any case.",
            ],
            button="Let them match" if wanted else "Keep them apart",
            back="/admin/duplicates",
            hidden={"match": match},
        )
    )


@router.post("/matching")
@declare(Access.CONSOLE, act=Act.SET_DUPLICATE_MATCHING)
async def set_matching(request: Request, me: MeDep, services: ServicesDep) -> Response:
    """Set whether such pairs match."""
    match = text_of(await read_form(request), "match") == "yes"
    await duplicates.set_duplicate_matching(services.db, me, match)
    return go_to("/admin/duplicates")


@router.get("/{pair_id:uuid}")
@declare(Access.CONSOLE, act=Act.LIST_DUPLICATES)
async def show_pair(pair_id: UUID, me: MeDep, services: ServicesDep) -> Response:
    """Show a pair; its photos are not."""
    return show(
        DuplicatePage(me=me, pair=await duplicates.load_duplicate(services.db, me, pair_id))
    )


@router.post("/{pair_id:uuid}/photos")
@declare(Access.CONSOLE, act=Act.SEE_HELD_PHOTO)
async def see_photos(pair_id: UUID, request: Request, me: MeDep, services: ServicesDep) -> Response:
    """Show the first photos of both, after recording who looks and why."""
    reason = text_of(await read_form(request), "reason")
    pair = await duplicates.load_duplicate(services.db, me, pair_id)
    page = DuplicatePage(me=me, pair=pair, reason=reason)
    photos: list[str | None] = []
    for account in page.accounts:
        try:
            jpeg = await cases.load_held_photo(
                services.db, me, account, services.photos, reason=reason
            )
        except InputInvalidError as exc:
            return show(replace(page, problem=Problem(exc.code, exc.message, "reason")), exc)
        except NotFoundError:
            photos.append(None)
        else:
            # In the page itself: an address of the photo would have to be guarded too.
            photos.append(f"data:image/jpeg;base64,{base64.b64encode(jpeg).decode()}")
    response = show(replace(page, photos=photos))
    response.headers["content-security-policy"] = POLICY_WITH_PHOTOS
    return response


@router.post("/{pair_id:uuid}/decide")
@declare(Access.CONSOLE, act=Act.DECIDE_DUPLICATE)
async def decide(pair_id: UUID, request: Request, me: MeDep, services: ServicesDep) -> Response:
    """Say that it is one person or two, or take a decision back."""
    try:
        state = DuplicateState(text_of(await read_form(request), "state"))
    except ValueError as exc:
        raise InputInvalidError("Choose one person, two people, or undecided.") from exc
    await duplicates.decide_duplicate(services.db, me, pair_id, state)
    return go_to("/admin/duplicates")
