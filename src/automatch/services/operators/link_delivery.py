"""Links that an operator has sent to a person, or hands over where no mail is sent."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from automatch.errors.request import SignInElsewhereError
from automatch.settings import Settings
from automatch.settings.server import AuthSettings
from automatch.settings.server_address import find_server_url
from automatch.store.accounts import mails
from automatch.store.database import Connection

if TYPE_CHECKING:
    from automatch.mail.message import MailKind, MailText


@dataclass(frozen=True)
class LinkDelivery:
    """How links reach people."""

    server_url: Callable[[], str]
    """Returns the address of the server for people."""
    settings: AuthSettings
    sends_mail: bool
    are_ours: bool
    """Whether people sign in here, and so by links of ours."""

    @classmethod
    def from_settings(cls, settings: Settings) -> Self:
        """Return how an installation delivers links."""
        return cls(
            server_url=lambda: find_server_url(settings),
            settings=settings.auth,
            sends_mail=settings.mails_people,
            are_ours=settings.issuer_url is None,
        )

    async def deliver_password_link(self, conn: Connection, email: str) -> MailText | None:
        """Have a link for a new password mailed, as `deliver` does."""
        # Commands that only look have no use for the templates.
        from automatch.mail.message import MailKind

        return await self.deliver(conn, MailKind.RECOVERY, email)

    async def deliver_invitation(self, conn: Connection, email: str) -> MailText | None:
        """Have somebody invited to their account, as `deliver` does."""
        from automatch.mail.message import MailKind

        return await self.deliver(conn, MailKind.INVITE, email)

    async def deliver(self, conn: Connection, kind: MailKind, email: str) -> MailText | None:
        """Have a link mailed; return the mail where none is sent.

        Raises:
            SignInElsewhereError: people sign in elsewhere.
        """
        from automatch.mail.compose import compose_mail

        if not self.are_ours:
            raise SignInElsewhereError
        if self.sends_mail:
            # A server sends it within half a minute.
            await mails.enqueue(conn, kind.value, email)
            return None
        return await compose_mail(
            conn,
            kind,
            email,
            None,
            server_url=self.server_url(),
            settings=self.settings,
        )
