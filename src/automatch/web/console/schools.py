"""The console's pages of schools: the list, who asks to be let in, and what is changed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, ClassVar
from urllib.parse import quote
from uuid import UUID

from fastapi import APIRouter, Request
from starlette.responses import Response

from automatch.errors import AutomatchError
from automatch.errors.request import InputInvalidError
from automatch.http.declaration import Access, declare
from automatch.http.deps import ServicesDep
from automatch.services.operators.acts import Act
from automatch.services.people import schools
from automatch.settings.server_address import find_server_url
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
from automatch.web.templating import Problem

if TYPE_CHECKING:
    from automatch.model.schools import Invitation, MembershipRequest, School

router = APIRouter(prefix="/admin", route_class=ConsoleRoute, include_in_schema=False)

_LIMIT = 100
_MOST_DAYS = 365
_NOTICES = {
    "added": "The school is on the list.",
    "changed": "Changed.",
    "opened": "The school is open: nobody needs a proof.",
    "closed": "The school is closed: people need a proof.",
    "renamed": "Renamed. The old name still works as another name for it.",
    "merged": "Merged. Everybody is searched for in their new school.",
    "removed": "The school is off the list.",
    "ended": "The code doesn't work any more.",
    "approved": "They belong to their school now, and get a mail.",
    "refused": "The request is turned down, and they get a mail.",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class SchoolsPage(ConsolePage):
    """All schools, and who asks to be let in."""

    template: ClassVar[str] = "console/schools.html"
    section: ClassVar[str] = "schools"
    title: str = "Schools"
    schools: Sequence[School]
    name: str = ""
    domains: str = ""
    aliases: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class SchoolPage(ConsolePage):
    """One school, and what can be done with it."""

    template: ClassVar[str] = "console/school.html"
    section: ClassVar[str] = "schools"
    school: School
    invitations: Sequence[Invitation]
    others: Sequence[str]
    """Names of the schools that it can become part of."""

    @property
    def address(self) -> str:
        return address_of(self.school.name)


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestsPage(ConsolePage):
    """Who asks to be let in."""

    template: ClassVar[str] = "console/requests.html"
    section: ClassVar[str] = "requests"
    title: str = "Requests"
    found: Sequence[MembershipRequest]
    limit: int = _LIMIT


def address_of(school: str) -> str:
    """Return the address of the page of a school."""
    return f"/admin/schools/school?name={quote(school, safe='')}"


@router.get("/schools")
@declare(Access.CONSOLE)
async def list_schools(me: MeDep, services: ServicesDep, done: str = "") -> Response:
    """Show all schools."""
    found = await schools.list_schools(services.db)
    return show(SchoolsPage(me=me, schools=found, notice=_NOTICES.get(done)))


@router.post("/schools")
@declare(Access.CONSOLE, act=Act.ADD_SCHOOL)
async def add_school(request: Request, me: MeDep, services: ServicesDep) -> Response:
    """Put a school on the list."""
    form = await read_form(request)
    name, domains, aliases = (text_of(form, field) for field in ("name", "domains", "aliases"))
    try:
        await schools.add_school(
            services.db,
            me,
            name.strip(),
            domains=_words(domains),
            aliases=_parts(aliases),
            is_open="open" in form,
        )
    except AutomatchError as exc:
        page = SchoolsPage(
            me=me,
            schools=await schools.list_schools(services.db),
            name=name,
            domains=domains,
            aliases=aliases,
            problem=Problem(exc.code, exc.message),
        )
        return show(page, exc)
    return _to(name.strip(), "added")


@router.get("/schools/school")
@declare(Access.CONSOLE)
async def show_school(me: MeDep, services: ServicesDep, name: str, done: str = "") -> Response:
    """Show one school."""
    every = await schools.list_schools(services.db)
    [school] = await schools.list_schools(services.db, name)
    return show(
        SchoolPage(
            me=me,
            title=school.name,
            school=school,
            invitations=await schools.list_invitations(services.db, school.name)
            if may(me, Act.INVITE_TO_SCHOOL)
            else [],
            others=[each.name for each in every if each.name != school.name],
            notice=_NOTICES.get(done),
        )
    )


@router.post("/schools/change")
@declare(Access.CONSOLE, act=Act.CHANGE_SCHOOL)
async def change_school(request: Request, me: MeDep, services: ServicesDep, name: str) -> Response:
    """Set the mail domains and other names; memberships that rest on a domain follow."""
    form = await read_form(request)
    [school] = await schools.list_schools(services.db, name)
    domains, aliases = _words(text_of(form, "domains")), _parts(text_of(form, "aliases"))
    await schools.change_school(
        services.db,
        me,
        school.name,
        domains=[each for each in domains if each not in school.domains],
        aliases=[each for each in aliases if each not in school.aliases],
        dropped_domains=[each for each in school.domains if each not in domains],
        dropped_aliases=[each for each in school.aliases if each not in aliases],
    )
    return _to(school.name, "changed")


@router.get("/schools/open")
@declare(Access.CONSOLE, act=Act.OPEN_SCHOOL)
async def ask_to_open(me: MeDep, services: ServicesDep, name: str) -> Response:
    """Say what opening a school does, and ask."""
    [school] = await schools.list_schools(services.db, name)
    return show(
        ConfirmPage(
            me=me,
            title=f"Open {school.name}?",
            act=Act.OPEN_SCHOOL,
            facts=[
                "Whoever names it sees its people, and is seen, without a proof.",
                f"{as_count(school.people - school.members, 'people')} who can't prove it yet "
                "will be let in at once.",
            ],
            button="Open",
            back=address_of(school.name),
        )
    )


@router.post("/schools/open")
@declare(Access.CONSOLE, act=Act.OPEN_SCHOOL)
async def open_school(me: MeDep, services: ServicesDep, name: str) -> Response:
    """Let everybody in who names the school."""
    await schools.set_open(services.db, me, name, is_open=True)
    return _to(name, "opened")


@router.get("/schools/close")
@declare(Access.CONSOLE, act=Act.CLOSE_SCHOOL)
async def ask_to_close(me: MeDep, services: ServicesDep, name: str) -> Response:
    """Say what closing a school does, and ask."""
    [school] = await schools.list_schools(services.db, name)
    return show(
        ConfirmPage(
            me=me,
            title=f"Close {school.name}?",
            act=Act.CLOSE_SCHOOL,
            facts=[
                f"Only its members find each other: {as_count(school.members, 'people')}.",
                f"{as_count(school.people - school.members, 'people')} will need a proof first. "
                "Until then they find nobody and nobody finds them.",
            ],
            button="Close",
            back=address_of(school.name),
        )
    )


@router.post("/schools/close")
@declare(Access.CONSOLE, act=Act.CLOSE_SCHOOL)
async def close_school(me: MeDep, services: ServicesDep, name: str) -> Response:
    """Ask for a proof from now on."""
    await schools.set_open(services.db, me, name, is_open=False)
    return _to(name, "closed")


@router.post("/schools/rename")
@declare(Access.CONSOLE, act=Act.RENAME_SCHOOL)
async def rename(request: Request, me: MeDep, services: ServicesDep, name: str) -> Response:
    """Rename a school everywhere; its old name goes on as an alias."""
    new_name = text_of(await read_form(request), "new_name").strip()
    await schools.rename_school(services.db, me, name, new_name)
    return _to(new_name, "renamed")


@router.get("/schools/merge")
@declare(Access.CONSOLE, act=Act.MERGE_SCHOOLS)
async def ask_to_merge(me: MeDep, services: ServicesDep, name: str, into: str) -> Response:
    """Say what becomes of both schools, and ask."""
    [school] = await schools.list_schools(services.db, name)
    [other] = await schools.list_schools(services.db, into)
    facts = [
        f"{as_count(school.people, 'people')} move to {other.name} with their proofs.",
        f"They are searched for in {other.name}, which has {as_count(other.people, 'people')}.",
        f"The names, mail domains and invitations of {school.name} become those of {other.name}.",
    ]
    if school.is_open and not other.is_open:
        count = as_count(school.people - school.members, "people")
        facts.append(f"{count} will need a proof there, because {other.name} is not open.")
    return show(
        ConfirmPage(
            me=me,
            title=f"Make {school.name} part of {other.name}?",
            act=Act.MERGE_SCHOOLS,
            facts=facts,
            button="Merge",
            back=address_of(school.name),
            is_final=True,
        )
    )


@router.post("/schools/merge")
@declare(Access.CONSOLE, act=Act.MERGE_SCHOOLS)
async def merge(me: MeDep, services: ServicesDep, name: str, into: str) -> Response:
    """Make one school of two."""
    await schools.merge_schools(services.db, me, name, into)
    return _to(into, "merged")


@router.get("/schools/remove")
@declare(Access.CONSOLE, act=Act.REMOVE_SCHOOL)
async def ask_to_remove(me: MeDep, services: ServicesDep, name: str) -> Response:
    """Say what goes with a school, and ask."""
    [school] = await schools.list_schools(services.db, name)
    return show(
        ConfirmPage(
            me=me,
            title=f"Take {school.name} off the list?",
            act=Act.REMOVE_SCHOOL,
            facts=["Nobody can choose it any more.", "Its invitations stop working."],
            button="Remove",
            back=address_of(school.name),
        )
    )


@router.post("/schools/remove")
@declare(Access.CONSOLE, act=Act.REMOVE_SCHOOL)
async def remove(me: MeDep, services: ServicesDep, name: str) -> Response:
    """Take a school off the list that nobody names."""
    await schools.remove_school(services.db, me, name)
    return go_to("/admin/schools?done=removed")


@router.post("/schools/invite")
@declare(Access.CONSOLE, act=Act.INVITE_TO_SCHOOL)
async def invite(request: Request, me: MeDep, services: ServicesDep, name: str) -> Response:
    """Show a new code and its link, once."""
    form = await read_form(request)
    days = _number(text_of(form, "days"), "days", most=_MOST_DAYS)
    uses = text_of(form, "uses").strip()
    code = await schools.invite(
        services.db,
        me,
        name,
        max_uses=_number(uses, "people") if uses else None,
        life=timedelta(days=days),
    )
    return show(
        HandOverPage(
            me=me,
            title=f"Invitation to {name}",
            lead="It is shown once: only a hash of it is kept. Whoever has the code becomes a "
            "member by it.",
            text=f"{code}\n{find_server_url(services.settings)}/join/{code}",
            back=address_of(name),
        )
    )


@router.post("/schools/invitations/{invitation_id:uuid}/end")
@declare(Access.CONSOLE, act=Act.END_INVITATION)
async def end_invitation(
    invitation_id: UUID, me: MeDep, services: ServicesDep, name: str
) -> Response:
    """End an invitation; whoever became a member by it stays one."""
    await schools.end_invitation(services.db, me, invitation_id)
    return _to(name, "ended")


@router.get("/requests")
@declare(Access.CONSOLE, act=Act.LIST_REQUESTS)
async def list_requests(me: MeDep, services: ServicesDep, done: str = "") -> Response:
    """Show who asks to be let in, longest first."""
    found = await schools.list_requests(services.db, me, None, _LIMIT)
    return show(RequestsPage(me=me, found=found, notice=_NOTICES.get(done)))


@router.post("/requests/{person_id:uuid}/approve")
@declare(Access.CONSOLE, act=Act.APPROVE_MEMBER)
async def approve(person_id: UUID, me: MeDep, services: ServicesDep) -> Response:
    """Make somebody who asked a member of their school."""
    await schools.decide_request(services.db, me, person_id, reason=None)
    return go_to("/admin/requests?done=approved")


@router.post("/requests/{person_id:uuid}/refuse")
@declare(Access.CONSOLE, act=Act.REFUSE_MEMBER)
async def refuse(person_id: UUID, request: Request, me: MeDep, services: ServicesDep) -> Response:
    """Turn a request down; the reason is for its person."""
    reason = text_of(await read_form(request), "reason")
    await schools.decide_request(services.db, me, person_id, reason=reason)
    return go_to("/admin/requests?done=refused")


def _words(text: str) -> list[str]:
    return text.replace(",", " ").lower().split()


def _parts(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def _number(text: str, what: str, *, most: int = 100_000) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 10 and 1 <= int(text) <= most):
        raise InputInvalidError(f"Give a number of {what} from 1 to {most:,}.")
    return int(text)


def _to(school: str, done: str) -> Response:
    return go_to(f"{address_of(school)}&done={done}")
