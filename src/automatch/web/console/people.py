"""The console's pages of people: find them, help them, freeze and erase them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar
from uuid import UUID

from fastapi import APIRouter, Request
from starlette.responses import Response

from automatch.http.declaration import Access, declare
from automatch.http.deps import Services, ServicesDep
from automatch.http.export import send_zip
from automatch.model.people import Gender, PersonDetails
from automatch.services.operators.acts import Act
from automatch.services.operators.link_delivery import LinkDelivery
from automatch.services.people import people, schools
from automatch.web.amounts import as_count
from automatch.web.console.frame import (
    ConfirmPage,
    ConsolePage,
    ConsoleRoute,
    HandOverPage,
    MeDep,
    may,
    show,
)
from automatch.web.pages import go_to, read_form, text_of

if TYPE_CHECKING:
    from automatch.mail.message import MailText
    from automatch.model.operators import Operator
    from automatch.model.people import FoundPerson, PersonSession

router = APIRouter(prefix="/admin", route_class=ConsoleRoute, include_in_schema=False)

_LIMIT = 50
_NOTICES = {
    "frozen": "Frozen: this person finds nobody and is found by nobody.",
    "unfrozen": "This person takes part again.",
    "ended": "Signed out everywhere.",
    "mailed": "The link is on its way.",
    "changed": "Changed. Their photos are searched for again.",
    "erased": "Erased, with all photos and matches.",
}


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


@dataclass(frozen=True, slots=True, kw_only=True)
class PersonPage(ConsolePage):
    """What it takes to help somebody, and what can be done."""

    template: ClassVar[str] = "console/person.html"
    section: ClassVar[str] = "people"
    person: PersonDetails
    schools: Sequence[str]
    sends_mail: bool
    sessions: Sequence[PersonSession] | None = None
    """None before they were asked for: that is a look of its own."""


@router.get("/people")
@declare(Access.CONSOLE, act=Act.FIND_PEOPLE)
async def find_people(me: MeDep, services: ServicesDep, q: str = "", done: str = "") -> Response:
    """Show who is found by an address, a name or an id."""
    query = q.replace("\0", "").strip()
    found = await people.find_people(services.db, me, query, _LIMIT) if query else None
    return show(PeoplePage(me=me, query=query, found=found, notice=_NOTICES.get(done)))


@router.get("/people/{person_id:uuid}")
@declare(Access.CONSOLE, act=Act.SHOW_PERSON)
async def show_person(
    person_id: UUID, me: MeDep, services: ServicesDep, done: str = ""
) -> Response:
    """Show one person."""
    person = await people.show_person(services.db, me, person_id)
    return await _show(services, me, person, notice=_NOTICES.get(done))


@router.get("/people/{person_id:uuid}/sessions")
@declare(Access.CONSOLE, act=Act.LIST_SESSIONS)
async def list_sessions(person_id: UUID, me: MeDep, services: ServicesDep) -> Response:
    """Show where somebody is signed in, too."""
    person = await people.show_person(services.db, me, person_id)
    sessions = await people.list_sessions(services.db, me, person_id, _links(services))
    return await _show(services, me, person, sessions=sessions)


@router.post("/people/{person_id:uuid}/freeze")
@declare(Access.CONSOLE, act=Act.FREEZE_PERSON)
async def freeze(person_id: UUID, request: Request, me: MeDep, services: ServicesDep) -> Response:
    """Let somebody find nobody and be found by nobody."""
    await people.freeze_person(services.db, me, person_id, await _reason(request))
    return _back(person_id, "frozen")


@router.post("/people/{person_id:uuid}/unfreeze")
@declare(Access.CONSOLE, act=Act.UNFREEZE_PERSON)
async def unfreeze(person_id: UUID, request: Request, me: MeDep, services: ServicesDep) -> Response:
    """Undo a freeze."""
    await people.unfreeze_person(services.db, me, person_id, await _reason(request))
    return _back(person_id, "unfrozen")


@router.post("/people/{person_id:uuid}/end-sessions")
@declare(Access.CONSOLE, act=Act.END_SESSIONS)
async def end_sessions(
    person_id: UUID, request: Request, me: MeDep, services: ServicesDep
) -> Response:
    """Sign somebody out everywhere."""
    reason = await _reason(request)
    await people.end_sessions(services.db, me, person_id, _links(services), reason)
    return _back(person_id, "ended")


@router.post("/people/{person_id:uuid}/reset-password")
@declare(Access.CONSOLE, act=Act.RESET_PASSWORD)
async def reset_password(
    person_id: UUID, request: Request, me: MeDep, services: ServicesDep
) -> Response:
    """Mail somebody a link for a new password, or show it where no mail is sent."""
    reason = await _reason(request)
    mail = await people.reset_password(services.db, me, person_id, _links(services), reason)
    return _hand_over(me, mail, f"/admin/people/{person_id}")


@router.post("/people/{person_id:uuid}/invite")
@declare(Access.CONSOLE, act=Act.INVITE_PERSON)
async def invite(person_id: UUID, me: MeDep, services: ServicesDep) -> Response:
    """Mail somebody who was imported a link to their account, or show it."""
    mail = await people.invite_person(services.db, me, person_id, _links(services))
    return _hand_over(me, mail, f"/admin/people/{person_id}")


@router.post("/people/{person_id:uuid}/export")
@declare(Access.CONSOLE, act=Act.EXPORT_PERSON)
async def export(person_id: UUID, request: Request, me: MeDep, services: ServicesDep) -> Response:
    """Send everything about somebody as a ZIP, to hand over to them."""
    parts = await people.export_person(
        services.db, me, person_id, services.photos, await _reason(request)
    )
    return send_zip(parts)


@router.post("/people/{person_id:uuid}/change")
@declare(Access.CONSOLE, act=Act.CHANGE_PERSON)
async def change(person_id: UUID, request: Request, me: MeDep, services: ServicesDep) -> Response:
    """Change school or gender of somebody who cannot do it themselves."""
    form = await read_form(request)
    gender = text_of(form, "gender")
    await schools.change_person(
        services.db,
        me,
        person_id,
        school=text_of(form, "school") or None,
        gender=Gender(gender) if gender in set(Gender) else None,
    )
    return _back(person_id, "changed")


@router.get("/people/{person_id:uuid}/erase")
@declare(Access.CONSOLE, act=Act.ERASE_PERSON)
async def ask_to_erase(person_id: UUID, me: MeDep, services: ServicesDep) -> Response:
    """Say what goes, and ask."""
    person = await people.show_person(services.db, me, person_id)
    return show(
        ConfirmPage(
            me=me,
            title=f"Erase {person.name or person.email or 'this account'}?",
            act=Act.ERASE_PERSON,
            facts=[
                f"The account goes, with {as_count(person.photos, 'photos')} and "
                f"{as_count(person.matches, 'matches')}.",
                "Others see at once that the matches are gone.",
                "They get a receipt by mail where mail is sent; you get it here too.",
            ],
            button="Erase for good",
            back=f"/admin/people/{person_id}",
            is_final=True,
        )
    )


@router.post("/people/{person_id:uuid}/erase")
@declare(Access.CONSOLE, act=Act.ERASE_PERSON)
async def erase(person_id: UUID, request: Request, me: MeDep, services: ServicesDep) -> Response:
    """Erase somebody with everything that belongs to them."""
    receipt = await people.erase_person(
        services.db, me, person_id, await _reason(request), services.erasures
    )
    if receipt is None:
        return go_to("/admin/people?done=erased")
    return show(
        HandOverPage(
            me=me,
            title="Erased",
            lead="This receipt says what was destroyed. Hand it over to the person.",
            text=receipt,
            back="/admin/people",
        )
    )


async def _show(
    services: Services,
    me: Operator,
    person: PersonDetails,
    *,
    notice: str | None = None,
    sessions: Sequence[PersonSession] | None = None,
) -> Response:
    found = await schools.list_schools(services.db) if may(me, Act.CHANGE_PERSON) else []
    return show(
        PersonPage(
            me=me,
            title=person.name or person.email or "Person",
            person=person,
            schools=[school.name for school in found],
            sends_mail=services.mailed_links.sends_mail,
            sessions=sessions,
            notice=notice,
        )
    )


async def _reason(request: Request) -> str:
    return text_of(await read_form(request), "reason")


def _links(services: Services) -> LinkDelivery:
    return LinkDelivery.from_settings(services.settings)


def _back(person_id: UUID, done: str) -> Response:
    return go_to(f"/admin/people/{person_id}?done={done}")


def _hand_over(me: Operator, mail: MailText | None, back: str) -> Response:
    if mail is None:
        return go_to(f"{back}?done=mailed")
    return show(
        HandOverPage(
            me=me,
            title="Hand this over",
            lead="No mail server is set. The link lets whoever has it into the account: make sure "
            "that it is really them. It is shown once.",
            text=mail.text,
            back=back,
        )
    )
