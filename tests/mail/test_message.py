"""What mails say, and the message that is made of it."""

from __future__ import annotations

from dataclasses import astuple, replace

import pytest
from jinja2 import UndefinedError

from automatch.mail.message import MailKind, write_mail
from automatch.model.notices import SiteOperator
from tests.support.smtp import link_in

SERVER = "https://match.example.org"
VALUES = {
    "server": SERVER,
    "operator": SiteOperator("UIT Union", "privacy@uit.example", "https://uit.example/contact"),
    "link": f"{SERVER}/page?token=t0k3n",
    "expires_at": "10:00 UTC",
    "old_email": "old@example.org",
    "new_email": "new@example.org",
}

_WITHOUT_LINK = {
    MailKind.TEST,
    MailKind.ACCOUNT_EXISTS,
    MailKind.MEMBERSHIP,
    MailKind.IMPERSONATION,
    MailKind.INACTIVE,
    MailKind.ERASED,
    MailKind.DIGEST,
}


@pytest.mark.parametrize("kind", [kind for kind in MailKind if kind not in _WITHOUT_LINK])
def test_every_mail_has_its_link_and_its_end_in_text_and_html(kind: MailKind) -> None:
    mail = write_mail(kind, **VALUES)
    message = mail.to_message(sender="a@uit.example", recipient="linh@example.org")

    assert link_in(message) == VALUES["link"]
    for part in (mail.text, mail.html):
        assert VALUES["expires_at"] in part
        for told in (*astuple(VALUES["operator"]), f"{SERVER}/privacy"):
            assert told in part
    assert f"<title>{mail.subject}</title>" in mail.html


def test_mail_about_news_names_nobody_and_has_a_button_that_ends_it() -> None:
    address = f"{SERVER}/notifications/unsubscribe?token=t0k3n"
    mail = write_mail(MailKind.DIGEST, news=3, unsubscribe=address, **VALUES)
    message = replace(mail, unsubscribe=address).to_message(
        sender="a@uit.example", recipient="linh@example.org"
    )

    assert message["List-Unsubscribe"] == f"<{address}>"
    assert message["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    for part in (mail.text, mail.html):
        assert "3 new look-alikes" in part
        assert address in part


def test_warning_says_until_when_and_a_receipt_is_attached() -> None:
    values = {name: VALUES[name] for name in ("server", "operator")}
    warning = write_mail(MailKind.INACTIVE, until="24 December 2027", **values)
    mail = replace(write_mail(MailKind.ERASED, **values), attachment="a.b.c")
    message = mail.to_message(sender="a@uit.example", recipient="linh@example.org")

    assert "24 December 2027" in warning.text
    assert "24 December 2027" in warning.html
    [receipt] = message.iter_attachments()
    assert (receipt.get_filename(), receipt.get_content().strip()) == (
        "erasure-receipt.jws",
        "a.b.c",
    )


def test_html_of_a_mail_is_escaped_and_its_text_is_not() -> None:
    address = "https://match.example.org/?a=1&b=<2>"
    mail = write_mail(MailKind.TEST, server=address, operator=SiteOperator())

    assert address in mail.text
    assert address not in mail.html
    assert "?a=1&amp;b=&lt;2&gt;" in mail.html


def test_mail_without_a_value_is_not_written() -> None:
    with pytest.raises(UndefinedError):
        write_mail(MailKind.RECOVERY, server=SERVER, operator=SiteOperator(), link=VALUES["link"])
