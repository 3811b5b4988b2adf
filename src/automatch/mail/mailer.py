"""Sends the mails that wait in the database, one after the other, and tries again what failed."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Self

import structlog

from automatch.background import run_together
from automatch.errors import AutomatchError
from automatch.errors.mail import MailError, MailRefusedError
from automatch.language.catalogue import ENGLISH, speaking
from automatch.mail.compose import compose_mail
from automatch.mail.message import MailKind, MailText, write_mail
from automatch.mail.transport import MailTransport, SmtpTransport
from automatch.settings import Settings
from automatch.settings.server import AuthSettings
from automatch.settings.server_address import find_server_url
from automatch.store.accounts import mails
from automatch.store.accounts.mails import TakenMail
from automatch.store.database import Database
from automatch.store.notify import listen
from automatch.store.operators.notices import load_site_operator

_LOOK_EVERY_S = 30.0
"""For mails that another server took and did not send, for those that are tried again, and where a
notification is lost."""
_DELAYS_S = (30, 120, 600, 1800, 3600, 7200)
"""Before each further attempt; a mailed link is of no use much later."""

log = structlog.get_logger(__name__)


class Mailer:
    """Sends waiting mails. Several servers share the queue.

    Args:
        server_url: returns the address of the server for people, which the links begin with.
    """

    def __init__(
        self,
        db: Database,
        transport: MailTransport,
        *,
        sender: str,
        server_url: Callable[[], str],
        settings: AuthSettings,
        grace_days: int,
        lease_s: float,
    ) -> None:
        self._db = db
        self._transport = transport
        self._sender = sender
        self._server_url = server_url
        self._settings = settings
        self._grace_days = grace_days
        self._lease = timedelta(seconds=lease_s)
        self._waiting = asyncio.Event()

    @classmethod
    def from_settings(cls, settings: Settings, db: Database) -> Self | None:
        """Return what sends the mails of an installation, or None where none are sent."""
        if not settings.mails_people:
            return None
        assert settings.mail.sender is not None, "the settings refuse a server without a sender"
        return cls(
            db,
            SmtpTransport(settings.mail),
            sender=settings.mail.sender,
            server_url=lambda: find_server_url(settings),
            settings=settings.auth,
            grace_days=settings.retention.inactive_grace_days,
            # A server that is slow at each of several steps has not been given up yet.
            lease_s=10 * settings.mail.timeout_s,
        )

    async def run(self) -> None:
        """Send mails until cancelled: each as soon as whoever has it sent commits."""
        await run_together(
            mail_listener=listen(
                self._db.direct,
                {"mails": lambda _: self._waiting.set()},
                name="automatch-mail-listen",
            ),
            mail_sender=self._send_all(),
        )

    async def _send_all(self) -> None:
        task = asyncio.current_task()
        # Up to Python 3.11, `asyncio.wait_for`, which sending uses, may swallow a cancellation.
        while task is not None and not task.cancelling():
            self._waiting.clear()
            try:
                while not task.cancelling() and await self.send_one():
                    pass
            except AutomatchError as exc:
                log.warning("mails could not be read", error=exc.code)
            if not task.cancelling():
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(_LOOK_EVERY_S):
                        await self._waiting.wait()

    async def send_one(self) -> bool:
        """Send the mail that is due first; return whether there was one."""
        async with self._db.connection() as conn:
            mail = await mails.take(conn, self._lease)
        if mail is None:
            return False
        try:
            sent = await self._send(mail)
        except MailError as exc:
            await self._postpone(mail, exc)
        except AutomatchError:
            raise
        except Exception as exc:
            # One that cannot be written must not hold up all others.
            log.exception("mail could not be written", mail_id=str(mail.id), kind=mail.kind)
            await self._postpone(mail, MailRefusedError(f"It failed with {type(exc).__name__}."))
        else:
            async with self._db.connection() as conn:
                await mails.finish(conn, mail)
            if sent:
                log.info("mail sent", mail_id=str(mail.id), kind=mail.kind)
        return True

    async def _send(self, mail: TakenMail) -> bool:
        text = await self._write(mail)
        if text is None:
            return False
        message = text.to_message(sender=self._sender, recipient=mail.recipient)
        await self._transport.send(message, mail.recipient)
        return True

    async def _write(self, mail: TakenMail) -> MailText | None:
        async with self._db.transaction() as conn:
            if mail.receipt is not None:
                operator = await load_site_operator(conn)
                with speaking(mail.language or ENGLISH):
                    text = write_mail(MailKind.ERASED, server=self._server_url(), operator=operator)
                return replace(text, attachment=mail.receipt)
            return await compose_mail(
                conn,
                MailKind(mail.kind),
                mail.recipient,
                mail.profile_id,
                case_id=mail.case_id,
                server_url=self._server_url(),
                settings=self._settings,
                grace_days=self._grace_days,
                language=mail.language,
            )

    async def _postpone(self, mail: TakenMail, error: MailError) -> None:
        again = not isinstance(error, MailRefusedError) and mail.attempts <= len(_DELAYS_S)
        delay = timedelta(seconds=_DELAYS_S[mail.attempts - 1]) if again else None
        async with self._db.connection() as conn:
            await mails.postpone(conn, mail, error.message, delay)
        log.warning(
            "mail not sent", mail_id=str(mail.id), kind=mail.kind, error=error.code, again=again
        )
