"""Errors of sending mail."""

from __future__ import annotations

from automatch.errors.base import AutomatchError


class MailError(AutomatchError):
    """The mail could not be sent."""

    code = "mail_failed"


class MailRefusedError(MailError):
    """The mail server takes no mail for this address."""

    code = "mail_refused"


class MailServerUnavailableError(MailError):
    """The mail server does not answer, or does not let us in."""

    code = "mail_server_unavailable"
    transient = True
