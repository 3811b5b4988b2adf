"""The way out for mail: SMTP, with TLS."""

from __future__ import annotations

import socket
import ssl
from email.message import EmailMessage
from functools import cached_property
from typing import Protocol
from urllib.parse import unquote, urlsplit

import aiosmtplib

from automatch.errors.mail import MailRefusedError, MailServerUnavailableError
from automatch.settings.mail import MailSettings


class MailTransport(Protocol):
    """Sends one message at a time."""

    async def send(self, message: EmailMessage, recipient: str) -> None:
        """Hand a message over for one address, whatever its head says.

        Raises:
            MailRefusedError: it will never be taken for this address.
            MailServerUnavailableError: it may be taken later.
        """


class SmtpTransport:
    """Sends by the mail server of the settings, over a connection for each message."""

    def __init__(self, settings: MailSettings) -> None:
        assert settings.smtp_url is not None
        parts = urlsplit(settings.smtp_url.get_secret_value())
        self._implicit_tls = parts.scheme == "smtps"
        self._host = parts.hostname or ""
        self._port = parts.port or (465 if self._implicit_tls else 587)
        self._user = unquote(parts.username) if parts.username else None
        self._password = unquote(parts.password) if parts.password else None
        # None takes STARTTLS where it is offered.
        self._start_tls = False if self._implicit_tls else (True if settings.needs_tls else None)
        self._timeout_s = settings.timeout_s

    @cached_property
    def _tls_context(self) -> ssl.SSLContext:
        # To read the certificates takes longer than to write a mail.
        return ssl.create_default_context()

    async def send(self, message: EmailMessage, recipient: str) -> None:
        """Hand a message over to the server.

        Raises: see `MailTransport.send`.
        """
        try:
            await aiosmtplib.send(
                message,
                recipients=[recipient],
                hostname=self._host,
                port=self._port,
                # The default looks a name up.
                local_hostname=socket.gethostname(),
                username=self._user,
                password=self._password,
                use_tls=self._implicit_tls,
                start_tls=self._start_tls,
                tls_context=self._tls_context,
                timeout=self._timeout_s,
            )
        except aiosmtplib.SMTPRecipientsRefused as exc:
            codes = [refused.code for refused in exc.recipients]
            if all(code >= 500 for code in codes):
                raise MailRefusedError(
                    f"The mail server refused the address ({codes[0]})."
                ) from exc
            raise MailServerUnavailableError(_describe(exc, codes[0])) from exc
        except aiosmtplib.SMTPResponseException as exc:
            raise MailServerUnavailableError(_describe(exc, exc.code)) from exc
        except (aiosmtplib.SMTPException, OSError) as exc:
            raise MailServerUnavailableError(_describe(exc)) from exc


def _describe(exc: Exception, code: int | None = None) -> str:
    # What a server writes may repeat the address.
    reply = f", reply {code}" if code is not None else ""
    return f"The mail server could not be used ({type(exc).__name__}{reply})."
