"""Mail over a real SMTP server: what is taken, refused, and never sent in the clear."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from ssl import SSLContext

import pytest

from automatch.errors.mail import MailRefusedError, MailServerUnavailableError
from automatch.mail.message import MailKind, write_mail
from automatch.mail.transport import SmtpTransport
from automatch.model.notices import SiteOperator
from automatch.settings.mail import MailSettings
from tests.support.certificates import Authority
from tests.support.smtp import REFUSED, MailBox, mail_server, text_of

pytestmark = pytest.mark.anyio

SENDER = "Auto-Match <no-reply@uit.example>"


def settings(url: str) -> MailSettings:
    return MailSettings.model_validate({"smtp_url": url, "sender": SENDER})


async def send(used: MailSettings, recipient: str = "linh@example.org") -> None:
    text = write_mail(MailKind.TEST, server="https://match.example.org", operator=SiteOperator())
    await SmtpTransport(used).send(text.to_message(sender=SENDER, recipient=recipient), recipient)


async def test_message_arrives_whole() -> None:
    with mail_server(password="a b@c") as box:
        await send(settings(box.url.replace("//", "//me:a%20b%40c@")))
        message = await box.take()

    assert message["From"] == SENDER
    assert message["To"] == "linh@example.org"
    assert message["Auto-Submitted"] == "auto-generated"
    assert message["Message-ID"].endswith("@uit.example>")
    assert "https://match.example.org" in text_of(message)
    assert message.get_content_type() == "multipart/alternative"


async def test_failures_are_told_apart_and_name_nobody() -> None:
    with mail_server(password="right") as box:
        with pytest.raises(MailServerUnavailableError) as wrong_password:
            await send(settings(box.url.replace("//", "//me:wrong@")))
        with pytest.raises(MailRefusedError) as refused:
            await send(settings(box.url.replace("//", "//me:right@")), REFUSED)
    with socket.socket() as taken:
        # Nobody listens there, and nobody else can.
        taken.bind(("127.0.0.1", 0))
        nowhere = settings(f"smtp://127.0.0.1:{taken.getsockname()[1]}")
        with pytest.raises(MailServerUnavailableError):
            await send(nowhere)

    assert "535" in wrong_password.value.message
    assert "550" in refused.value.message
    for error in (wrong_password, refused):
        assert "@" not in error.value.message
        assert "wrong" not in error.value.message


async def test_password_is_not_sent_without_tls_to_another_machine() -> None:
    with mail_server() as box:
        transport = SmtpTransport(settings(box.url))
        # As to a server elsewhere, of which the test has none.
        transport._start_tls = True
        text = write_mail(
            MailKind.TEST, server="https://match.example.org", operator=SiteOperator()
        )
        message = text.to_message(sender=SENDER, recipient="linh@example.org")
        with pytest.raises(MailServerUnavailableError):
            await transport.send(message, "linh@example.org")
        assert box.arrived.empty()


@contextmanager
def server_with_tls(scheme: str, context: SSLContext) -> Iterator[MailBox]:
    """Run a mail server with STARTTLS (`smtp`) or with TLS from the first byte (`smtps`)."""
    kind = "implicit_tls" if scheme == "smtps" else "starttls"
    with mail_server(password="right", **{kind: context}) as box:
        yield box


@pytest.mark.parametrize("scheme", ["smtp", "smtps"])
async def test_tls_takes_the_certificate_of_the_server_and_no_other(
    scheme: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    authority, stranger = Authority.make(tmp_path), Authority.make(tmp_path, "stranger")
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.file))
    with server_with_tls(scheme, authority.server_context("localhost")) as box:
        await send(settings(f"{scheme}://me:right@localhost:{box.port}"))
        assert (await box.take())["To"] == "linh@example.org"
        assert box.passwords == ["right"]

    for wrong in (stranger.server_context("localhost"), authority.server_context("mail.example")):
        with server_with_tls(scheme, wrong) as box:
            with pytest.raises(MailServerUnavailableError):
                await send(settings(f"{scheme}://me:right@localhost:{box.port}"))
            assert (box.passwords, box.arrived.empty()) == ([], True)
