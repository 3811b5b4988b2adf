"""What mails say: a template in text and in HTML for each kind, without face, score or school."""

from __future__ import annotations

from dataclasses import dataclass
from email.headerregistry import Address
from email.message import EmailMessage
from email.utils import formatdate, make_msgid, parseaddr
from enum import StrEnum
from functools import cache

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

from automatch.language.catalogue import gettext
from automatch.language.catalogue import gettext_noop as _
from automatch.language.templates import install_texts
from automatch.model.notices import SiteOperator


class MailKind(StrEnum):
    """The kinds of mail; each has templates of its name."""

    RECOVERY = "recovery"
    SIGN_IN = "sign_in"
    EMAIL_OLD = "email_old"
    """A change of the address, to the old one."""
    EMAIL_NEW = "email_new"
    SIGN_UP = "sign_up"
    """To confirm the address of a new account."""
    ACCOUNT_EXISTS = "account_exists"
    """Instead of `SIGN_UP`, to somebody who has confirmed theirs."""
    INVITE = "invite"
    IMPERSONATION = "impersonation"
    """That an operator signed in as its reader; it has no link."""
    MEMBERSHIP = "membership"
    """An operator has answered a request."""
    TAKE_DOWN = "take_down"
    """To confirm the address of a request."""
    CASE_NEWS = "case_news"
    INACTIVE = "inactive"
    """The account is to be erased, because nobody used it for long."""
    DIGEST = "digest"
    """That there are matches that its reader has not seen."""
    ERASED = "erased"
    """With the receipt, when the account is gone."""
    TEST = "test"


_SUBJECTS = {
    MailKind.RECOVERY: _("Choose a new password for Auto-Match"),
    MailKind.SIGN_IN: _("Sign in to Auto-Match"),
    MailKind.EMAIL_OLD: _("Your e-mail address for Auto-Match is about to change"),
    MailKind.EMAIL_NEW: _("Confirm your new e-mail address for Auto-Match"),
    MailKind.SIGN_UP: _("Confirm your e-mail address for Auto-Match"),
    MailKind.ACCOUNT_EXISTS: _("You already have an Auto-Match account"),
    MailKind.INVITE: _("Your Auto-Match account"),
    MailKind.IMPERSONATION: _("Someone who runs Auto-Match signed in to your account"),
    MailKind.MEMBERSHIP: _("Your request on Auto-Match was answered"),
    MailKind.TAKE_DOWN: _("Confirm your request to Auto-Match"),
    MailKind.CASE_NEWS: _("News about a report on Auto-Match"),
    MailKind.INACTIVE: _("Your Auto-Match account will be deleted"),
    MailKind.DIGEST: _("New look-alikes on Auto-Match"),
    MailKind.ERASED: _("Your Auto-Match account is deleted"),
    MailKind.TEST: _("Auto-Match can send mail"),
}


@dataclass(frozen=True, slots=True)
class MailText:
    """A mail without its addresses."""

    subject: str
    text: str
    html: str
    attachment: str | None = None
    """The receipt of an erasure."""
    unsubscribe: str | None = None
    """Address that ends mails of this kind, for the button of a mail program (RFC 8058)."""

    def to_message(self, *, sender: str, recipient: str) -> EmailMessage:
        """Return the message to send, for clients with and without HTML."""
        message = EmailMessage()
        message["From"] = sender
        # A text would be parsed once more, and might name others.
        local, _, domain = recipient.rpartition("@")
        message["To"] = Address(username=local, domain=domain)
        message["Subject"] = self.subject
        message["Date"] = formatdate(usegmt=True)
        message["Message-ID"] = make_msgid(domain=parseaddr(sender)[1].rpartition("@")[2])
        # RFC 3834: so that out-of-office replies stay away.
        message["Auto-Submitted"] = "auto-generated"
        if self.unsubscribe is not None:
            message["List-Unsubscribe"] = f"<{self.unsubscribe}>"
            message["List-Unsubscribe-Post"] = "List-Unsubscribe=One-Click"
        message.set_content(self.text)
        message.add_alternative(self.html, subtype="html")
        if self.attachment is not None:
            message.add_attachment(self.attachment, filename="erasure-receipt.jws")
        return message


def write_mail(
    kind: MailKind, *, server: str, operator: SiteOperator, **values: object
) -> MailText:
    """Return a mail of a kind, its templates filled in with *values*.

    Its foot says who runs the *server*.
    """
    subject = gettext(_SUBJECTS[kind])
    text, foot, html = (
        _templates()
        .get_template(name)
        .render(subject=subject, server=server, operator=operator, **values)
        for name in (f"{kind}.txt", "foot.txt", f"{kind}.html")
    )
    return MailText(subject, f"{text}\n{foot}", html)


@cache
def _templates() -> Environment:
    templates = Environment(
        loader=PackageLoader("automatch.mail"),
        autoescape=select_autoescape(["html"]),
        undefined=StrictUndefined,
        trim_blocks=True,
        keep_trailing_newline=True,
        extensions=["jinja2.ext.i18n"],
    )
    install_texts(templates)
    return templates
