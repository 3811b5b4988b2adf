"""Mail: whether it is sent, and who waits for a link."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlsplit

from automatch.ops.doctor.check import Check, Result, fail, ok, skipped, warn
from automatch.ops.doctor.context import CheckContext
from automatch.sql.statements import load

_SQL = load("doctor_mail")
_LOOPBACK = {"127.0.0.1", "::1", "localhost"}


@dataclass(frozen=True, slots=True)
class _Waiting:
    waiting: int
    error: str | None
    """The last one, if there was any."""


async def _mail(context: CheckContext) -> Result:
    if context.settings.issuer_url is not None:
        return skipped("People sign in elsewhere; mail about their accounts comes from there.")
    found = await context.one(_Waiting, _SQL["waiting"])
    if context.settings.mail.smtp_url is None:
        if found.waiting:
            return warn(
                f"No mail server is set, and {_people(found.waiting)} for a mailed link.",
                "`automatch mail list`, then hand over the link of `automatch mail show`; or set "
                "AUTOMATCH_MAIL__SMTP_URL.",
            )
        return skipped("No mail server is set; requests for links wait in `automatch mail list`.")
    if found.error is not None:
        return fail(
            f"Mail is not sent, and {_people(found.waiting)} for one: {found.error}",
            "automatch mail test YOUR-ADDRESS",
        )
    if urlsplit(context.settings.server_url()).hostname in _LOOPBACK:
        return warn(
            "Links in mails begin with an address that only this machine reaches.",
            "Set AUTOMATCH_PUBLIC_URL to the address that people use.",
        )
    return ok("Mail is sent.")


def _people(count: int) -> str:
    return "1 person waits" if count == 1 else f"{count} people wait"


CHECKS = [Check("mail.queue", "Mail is sent", _mail)]
