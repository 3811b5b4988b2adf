"""The console's pages of operators, of the audit log, and of who runs this."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar
from urllib.parse import urlencode
from uuid import UUID

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from automatch.errors.request import InputInvalidError
from automatch.http.declaration import Access, declare
from automatch.http.deps import ServicesDep
from automatch.model.notices import NoticeKind, PublishedNotice, SiteOperator
from automatch.model.operators import OperatorRole
from automatch.services.operators import roles, site_operator
from automatch.services.operators.acts import Act
from automatch.services.operators.link_delivery import LinkDelivery
from automatch.services.people import people
from automatch.web.console.frame import (
    ConfirmPage,
    ConsolePage,
    ConsoleRoute,
    HandOverPage,
    MeDep,
    show,
)
from automatch.web.pages import go_to, read_form, text_of

if TYPE_CHECKING:
    from automatch.model.operators import AuditEntry, OperatorAccount

router = APIRouter(prefix="/admin", route_class=ConsoleRoute, include_in_schema=False)

_LIMIT = 50
_NOTICES = {
    "added": "They are an operator now, and choose a password by the link that is mailed to them.",
    "changed": "The role is changed.",
    "removed": "They are no operator any more. The account stays.",
    "set": "Pages and mails say so from now on.",
    "published": "Published. It cannot be changed any more; publish a new version instead.",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class OperatorsPage(ConsolePage):
    """Who may do what."""

    template: ClassVar[str] = "console/operators.html"
    section: ClassVar[str] = "operators"
    title: str = "Operators"
    found: Sequence[OperatorAccount]
    roles: Sequence[tuple[str, str]] = (
        ("viewer", "Viewer: finds people and looks"),
        ("moderator", "Moderator: decides cases, freezes, lets people in"),
        ("operator", "Operator: runs the queue and the schools, erases"),
        ("owner", "Owner: gives roles and publishes texts"),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditPage(ConsolePage):
    """What operators did and looked at."""

    template: ClassVar[str] = "console/audit.html"
    section: ClassVar[str] = "audit"
    title: str = "Audit log"
    entries: Sequence[AuditEntry]
    names: Mapping[str, str]
    person: str
    act: str
    by: str
    acts: Sequence[str] = tuple(sorted(Act))
    older: str | None

    def address(self, **change: str) -> str:
        """Return the address of this page with another filter."""
        wanted = {"person": self.person, "act": self.act, "by": self.by} | change
        return "/admin/audit?" + urlencode({key: text for key, text in wanted.items() if text})


@dataclass(frozen=True, slots=True, kw_only=True)
class TextsPage(ConsolePage):
    """Who runs this, and the texts that people read and agree to."""

    template: ClassVar[str] = "console/texts.html"
    section: ClassVar[str] = "texts"
    title: str = "Who runs this"
    site: SiteOperator
    notices: Sequence[tuple[NoticeKind, PublishedNotice]]


@router.get("/operators")
@declare(Access.CONSOLE, act=Act.LIST_OPERATORS)
async def list_operators(me: MeDep, services: ServicesDep, done: str = "") -> Response:
    """Show the operators, owners first."""
    found = await roles.list_operators(services.db, me)
    return show(OperatorsPage(me=me, found=found, notice=_NOTICES.get(done)))


@router.post("/operators")
@declare(Access.CONSOLE, act=Act.SET_ROLE)
async def add_operator(request: Request, me: MeDep, services: ServicesDep) -> Response:
    """Make somebody an operator."""
    form = await read_form(request)
    role = _role(text_of(form, "role"))
    links = LinkDelivery.from_settings(services.settings)
    added = await roles.add_operator(services.db, me, text_of(form, "email"), role, links)
    if added.mail is None:
        return go_to("/admin/operators?done=added")
    return show(
        HandOverPage(
            me=me,
            title="Hand this over",
            lead="No mail server is set. They choose a password by this link; it is shown once.",
            text=added.mail.text,
            back="/admin/operators",
        )
    )


@router.post("/operators/{person_id:uuid}/role")
@declare(Access.CONSOLE, act=Act.SET_ROLE)
async def change_role(
    person_id: UUID, request: Request, me: MeDep, services: ServicesDep
) -> Response:
    """Give an operator another role."""
    role = _role(text_of(await read_form(request), "role"))
    await roles.change_role(services.db, me, person_id, role)
    return go_to("/admin/operators?done=changed")


@router.get("/operators/{person_id:uuid}/remove")
@declare(Access.CONSOLE, act=Act.SET_ROLE)
async def ask_to_remove(person_id: UUID, me: MeDep) -> Response:
    """Ask before a role is taken away."""
    whose = "your" if person_id == me.id else "this person's"
    return show(
        ConfirmPage(
            me=me,
            title=f"Take {whose} role away?",
            act=Act.SET_ROLE,
            facts=["The console is closed to them from now on.", "The account stays."],
            button="Take the role away",
            back="/admin/operators",
        )
    )


@router.post("/operators/{person_id:uuid}/remove")
@declare(Access.CONSOLE, act=Act.SET_ROLE)
async def remove(person_id: UUID, me: MeDep, services: ServicesDep) -> Response:
    """Take a role away."""
    await roles.change_role(services.db, me, person_id, None)
    return go_to("/admin/operators?done=removed")


@router.get("/audit")
@declare(Access.CONSOLE, act=Act.READ_AUDIT_LOG)
async def read_audit_log(
    *,
    me: MeDep,
    services: ServicesDep,
    person: str = "",
    act: str = "",
    by: str = "",
    before: Annotated[int | None, Query(ge=0, lt=2**63)] = None,
) -> Response:
    """Show what operators did and looked at, newest first."""
    person, act, by = (text.replace("\0", "").strip() for text in (person, act, by))
    log = await roles.read_audit_log(
        services.db,
        me,
        _LIMIT,
        person_id=await people.find_id(services.db, person) if person else None,
        act=act or None,
        actor=by or None,
        before=before,
    )
    page = AuditPage(
        me=me, entries=log.entries, names=log.names, person=person, act=act, by=by, older=None
    )
    if len(log.entries) == _LIMIT:
        older = page.address(before=str(log.entries[-1].id))
        page = AuditPage(
            me=me, entries=log.entries, names=log.names, person=person, act=act, by=by, older=older
        )
    return show(page)


@router.get("/texts")
@declare(Access.CONSOLE)
async def show_texts(me: MeDep, services: ServicesDep, done: str = "") -> Response:
    """Show who runs this, and all texts."""
    site, notices = await site_operator.load_texts(services.db)
    return show(TextsPage(me=me, site=site, notices=notices, notice=_NOTICES.get(done)))


@router.post("/texts/site")
@declare(Access.CONSOLE, act=Act.SET_SITE_OPERATOR)
async def set_site_operator(request: Request, me: MeDep, services: ServicesDep) -> Response:
    """Say who runs this."""
    form = await read_form(request)
    await site_operator.set_site_operator(
        services.db,
        me,
        name=text_of(form, "name"),
        email=text_of(form, "email"),
        url=text_of(form, "url"),
    )
    return go_to("/admin/texts?done=set")


@router.post("/texts/publish")
@declare(Access.CONSOLE, act=Act.PUBLISH_NOTICE)
async def publish(request: Request, me: MeDep, services: ServicesDep) -> Response:
    """Publish a new version of a text, for good."""
    form = await read_form(request)
    if text_of(form, "kind") not in set(NoticeKind):
        raise InputInvalidError("Choose what the text is for.")
    if "sure" not in form:
        raise InputInvalidError("Say that you have read it: a published text stays for good.")
    await site_operator.publish_notice(
        services.db,
        me,
        NoticeKind(text_of(form, "kind")),
        language=text_of(form, "language").strip(),
        body=text_of(form, "body").replace("\r\n", "\n").strip(),
        asks_again="ask_again" in form,
    )
    return go_to("/admin/texts?done=published")


def _role(text: str) -> OperatorRole:
    if text not in set(OperatorRole):
        raise InputInvalidError("Choose a role.")
    return OperatorRole(text)
