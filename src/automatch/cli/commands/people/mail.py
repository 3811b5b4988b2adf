"""`automatch mail`: mail that waits, links that an operator hands over, and a try of the server."""

from __future__ import annotations

import asyncio
from dataclasses import asdict
from typing import Annotated
from uuid import UUID

import typer

from automatch.cli.options import Home, Json, Limit
from automatch.cli.output.echo import echo, echo_json
from automatch.cli.output.tables import Table, or_dash, print_tables, utc
from automatch.cli.runtime.db_session import run_as_operator
from automatch.cli.runtime.logging_setup import load_settings_and_logging
from automatch.errors.configuration import SettingsError

app = typer.Typer(
    help="Mail to people: list what waits, hand a link over. Without a mail server "
    "(AUTOMATCH_MAIL__SMTP_URL) requests wait here, for you to hand the link over.\n\n"
    "Example: `automatch mail list`",
    no_args_is_help=True,
)


@app.command("list")
def list_mails(home: Home = None, limit: Limit = 50, as_json: Json = False) -> None:
    """List what was not sent yet, newest request first.

    Example: `automatch mail list`
    """
    from automatch.services.accounts import mails

    found = run_as_operator(
        home, lambda me: mails.list_mails(me.db, me.operator, limit), name="mail"
    )
    if as_json:
        echo_json([asdict(mail) for mail in found])
    else:
        columns = ("id", "kind", "to", "requested (UTC)", "attempts", "last error")
        rows = [
            (
                mail.id,
                mail.kind,
                mail.recipient,
                utc(mail.requested_at),
                mail.attempts,
                or_dash(mail.error),
            )
            for mail in found
        ]
        optional = ("attempts", "kind")
        print_tables(
            Table(
                columns,
                rows,
                wrapped_column="last error",
                optional_columns=optional,
                if_empty="No mail waits.",
            )
        )


@app.command()
def show(
    mail_id: Annotated[UUID, typer.Argument(metavar="ID", help="The mail, as `list` shows it.")],
    home: Home = None,
) -> None:
    """Print a waiting mail with a fresh link, to hand over.

    It is for its person and nobody else. Make sure that it is really them: the link lets whoever
    has it into the account. That you looked is recorded in the audit log.

    Example: `automatch mail show 3f0c8d52-91b7-4c06-8a4e-5b2d70c9e613`
    """
    from automatch.services.accounts import mails

    text = run_as_operator(
        home,
        lambda me: mails.hand_over_mail(me.db, me.operator, mail_id, me.settings),
        name="mail",
    )
    if text is None:
        echo("Nobody gets this mail: it has expired, or the address belongs to another account.")
    else:
        echo(text.text)


@app.command()
def resend(
    mail_id: Annotated[UUID, typer.Argument(metavar="ID", help="The mail, as `list` shows it.")],
    home: Home = None,
) -> None:
    """Try a mail that failed or waits again, at once.

    Example: `automatch mail resend 3f0c8d52-91b7-4c06-8a4e-5b2d70c9e613`
    """
    from automatch.services.accounts import mails

    run_as_operator(home, lambda me: mails.resend_mail(me.db, me.operator, mail_id), name="mail")
    echo("A server sends it within half a minute.")


@app.command("test")
def try_server(
    address: Annotated[str, typer.Argument(metavar="ADDRESS", help="Your own e-mail address.")],
    home: Home = None,
) -> None:
    """Send a test mail now, and say how the mail server answered.

    Example: `automatch mail test you@example.org`
    """
    from automatch.mail.message import MailKind, write_mail
    from automatch.model.notices import SiteOperator
    from automatch.services.validators import require_email
    from automatch.settings.secrets import secrets_of
    from automatch.settings.server_address import find_server_url

    settings = load_settings_and_logging(home=home)
    # A mistyped data folder has other settings; nothing else here would notice it.
    secrets_of(settings)
    if settings.mail.smtp_url is None or settings.mail.sender is None:
        raise SettingsError(
            "No mail server is set. Set AUTOMATCH_MAIL__SMTP_URL and AUTOMATCH_MAIL__SENDER."
        )
    recipient = require_email(address)
    # Only this command and the server need the library.
    from automatch.mail.transport import SmtpTransport

    text = write_mail(MailKind.TEST, server=find_server_url(settings), operator=SiteOperator())
    message = text.to_message(sender=settings.mail.sender, recipient=recipient)
    asyncio.run(SmtpTransport(settings.mail).send(message, recipient))
    echo("The mail server took the mail. Look whether it arrives, and not among the spam.")
