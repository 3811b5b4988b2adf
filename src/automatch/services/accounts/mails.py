"""What operators do about mail that waits: look, send once more, hand a link over."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from uuid import UUID

from automatch.model.operators import Operator
from automatch.services.operators.acts import Act, authorized, name_people
from automatch.settings import Settings
from automatch.settings.server_address import find_server_url
from automatch.store.accounts import mails
from automatch.store.accounts.mails import WaitingMail
from automatch.store.database import Database

if TYPE_CHECKING:
    from automatch.mail.message import MailText


async def list_mails(db: Database, operator: Operator, limit: int = 50) -> list[WaitingMail]:
    """Return mails that wait or failed, newest request first.

    Raises:
        ForbiddenError: see `authorized`; so for all acts here.
    """
    details: dict[str, Any] = {}
    async with authorized(db, operator, Act.LIST_MAILS, details=details) as conn:
        found = await mails.list_waiting(conn, limit, operator.id)
        name_people(details, {mail.profile_id for mail in found if mail.profile_id})
        return found


async def resend_mail(db: Database, operator: Operator, mail_id: UUID) -> None:
    """Try a mail that failed or waits again, at once.

    Raises:
        NotFoundError: no such mail waits.
    """
    async with authorized(db, operator, Act.RESEND_MAIL, mail_id) as conn:
        await mails.resend(conn, mail_id)


async def hand_over_mail(
    db: Database, operator: Operator, mail_id: UUID, settings: Settings
) -> MailText | None:
    """Return a mail that waits with a fresh link, which lets whoever has it into the account.

    None when it is for nobody any more.

    Raises:
        NotFoundError: no such mail waits.
    """
    # Commands that only look have no use for the templates.
    from automatch.mail.compose import compose_mail
    from automatch.mail.message import MailKind

    async with authorized(db, operator, Act.READ_MAIL, mail_id) as conn:
        kind, recipient, profile_id, case_id, language = await mails.read(
            conn, mail_id, operator.actor
        )
        return await compose_mail(
            conn,
            MailKind(kind),
            recipient,
            profile_id,
            case_id=case_id,
            language=language,
            server_url=find_server_url(settings),
            settings=settings.auth,
            grace_days=settings.retention.inactive_grace_days,
        )
