"""The console's page of mail that waits or failed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar
from uuid import UUID

from fastapi import APIRouter
from starlette.responses import Response

from automatch.errors.request import InputInvalidError, NotFoundError
from automatch.http.declaration import Access, declare
from automatch.http.deps import ServicesDep
from automatch.services.accounts import mails
from automatch.services.operators.acts import Act
from automatch.web.console.frame import ConsolePage, ConsoleRoute, HandOverPage, MeDep, show
from automatch.web.pages import go_to

if TYPE_CHECKING:
    from automatch.store.accounts.mails import WaitingMail

router = APIRouter(prefix="/admin/mail", route_class=ConsoleRoute, include_in_schema=False)

_LIMIT = 200
_NOTICES = {"resent": "It is sent again within half a minute."}


@dataclass(frozen=True, slots=True, kw_only=True)
class MailPage(ConsolePage):
    """Mail that waits or failed."""

    template: ClassVar[str] = "console/mail.html"
    section: ClassVar[str] = "mail"
    title: str = "Mail"
    found: Sequence[WaitingMail]
    sends_mail: bool
    limit: int = _LIMIT


@router.get("")
@declare(Access.CONSOLE, act=Act.LIST_MAILS)
async def list_mails(me: MeDep, services: ServicesDep, done: str = "") -> Response:
    """Show what was not sent yet, newest request first."""
    found = await mails.list_mails(services.db, me, _LIMIT)
    sends_mail = services.mailed_links.sends_mail
    return show(MailPage(me=me, found=found, sends_mail=sends_mail, notice=_NOTICES.get(done)))


@router.post("/{mail_id:uuid}/resend")
@declare(Access.CONSOLE, act=Act.RESEND_MAIL)
async def resend(mail_id: UUID, me: MeDep, services: ServicesDep) -> Response:
    """Try a mail again at once."""
    await mails.resend_mail(services.db, me, mail_id)
    return go_to("/admin/mail?done=resent")


@router.post("/{mail_id:uuid}/show")
@declare(Access.CONSOLE, act=Act.READ_MAIL)
async def hand_over(mail_id: UUID, me: MeDep, services: ServicesDep) -> Response:
    """Show a mail with a fresh link, where nobody else delivers it."""
    if services.mailed_links.sends_mail:
        raise InputInvalidError("A mail server is set, and it alone delivers links.")
    mail = await mails.hand_over_mail(services.db, me, mail_id, services.settings)
    if mail is None:
        raise NotFoundError(
            "Nobody gets this mail: it has expired, or the address belongs to another account."
        )
    return show(
        HandOverPage(
            me=me,
            title="Hand this over",
            lead="It is for its person and nobody else: a link lets whoever has it into the "
            "account. Make sure that it is really them.",
            text=mail.text,
            back="/admin/mail",
        )
    )
