"""The queue of mails: each is sent once, tried again where that helps, and tells nothing."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from email.message import EmailMessage

import pytest
import structlog

from automatch.errors.mail import MailRefusedError, MailServerUnavailableError
from automatch.mail.mailer import Mailer
from automatch.model.people import Claims, Role
from automatch.postgres.addresses import database_address
from automatch.settings import Settings
from automatch.settings.secrets import Secrets
from automatch.settings.server import AuthSettings
from automatch.store.accounts import accounts, mails
from automatch.store.database import Database
from automatch.store.people import profiles
from tests.support.postgres import TestCluster
from tests.support.smtp import link_in
from tests.support.waiting import PATIENCE_S

pytestmark = pytest.mark.anyio

HER = "linh@example.org"


class Transport:
    """Keeps messages, or fails as it is told to."""

    def __init__(self) -> None:
        self.sent: list[EmailMessage] = []
        self.error: Exception | None = None

    async def send(self, message: EmailMessage, recipient: str) -> None:
        assert recipient == message["To"]
        if self.error is not None:
            raise self.error
        self.sent.append(message)


@pytest.fixture
async def db(settings: Settings, cluster: TestCluster) -> AsyncIterator[Database]:
    secrets: Secrets = cluster.secrets
    async with Database(
        database_address(settings, secrets, "api"), settings.pool, name="test"
    ) as opened:
        async with opened.transaction() as conn:
            await accounts.create_user(conn, email=HER, encrypted_password="x", data={})
        yield opened


def mailer(db: Database, transport: Transport) -> Mailer:
    return Mailer(
        db,
        transport,
        sender="Auto-Match <no-reply@uit.example>",
        server_url=lambda: "https://match.example.org",
        settings=AuthSettings(),
        grace_days=30,
        lease_s=60,
    )


async def enqueue(db: Database, *recipients: str) -> None:
    async with db.transaction() as conn:
        for recipient in recipients:
            await mails.enqueue(conn, "recovery", recipient)


async def waiting(db: Database) -> list[mails.WaitingMail]:
    async with db.transaction() as conn:
        return await mails.list_waiting(conn)


async def test_mail_is_sent_once_and_forgotten(db: Database) -> None:
    transport = Transport()
    await enqueue(db, HER, "nobody@example.org", HER.upper())
    assert [mail.recipient for mail in await waiting(db)] == [HER]

    with structlog.testing.capture_logs() as logs:
        assert [await mailer(db, transport).send_one() for _ in range(3)] == [True, True, False]

    [message] = transport.sent
    assert message["To"] == HER
    assert link_in(message).startswith("https://match.example.org/reset-password?token=")
    assert await waiting(db) == []
    assert HER not in str(logs)
    assert "token" not in str(logs)


async def test_two_servers_do_not_send_one_mail_twice(db: Database) -> None:
    class Slow(Transport):
        async def send(self, message: EmailMessage, recipient: str) -> None:
            assert not await other.send_one()
            await super().send(message, recipient)

    transport, other = Slow(), mailer(db, Transport())
    await enqueue(db, HER)

    assert await mailer(db, transport).send_one()

    assert len(transport.sent) == 1


async def test_what_failed_is_tried_again_and_what_was_refused_is_not(db: Database) -> None:
    transport = Transport()
    transport.error = MailServerUnavailableError("The mail server could not be used.")
    await enqueue(db, HER)
    assert await mailer(db, transport).send_one()
    # The next attempt waits.
    assert not await mailer(db, transport).send_one()
    [mail] = await waiting(db)
    assert (mail.attempts, mail.failed, mail.error) == (1, False, transport.error.message)

    # She asks again, which does not wait.
    transport.error = MailRefusedError("The mail server refused the address (550).")
    await enqueue(db, HER)
    assert await mailer(db, transport).send_one()
    [mail] = await waiting(db)
    assert (mail.failed, mail.error) == (True, transport.error.message)
    assert not await mailer(db, transport).send_one()

    transport.error = None
    await enqueue(db, HER)
    assert await mailer(db, transport).send_one()
    assert len(transport.sent) == 1


async def test_stop_that_the_transport_swallows_is_a_stop(db: Database) -> None:
    class Swallowing(Transport):
        async def send(self, message: EmailMessage, recipient: str) -> None:
            sending.set()
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.Event().wait()

    sending = asyncio.Event()
    await enqueue(db, HER)
    running = asyncio.create_task(mailer(db, Swallowing()).run())
    await sending.wait()

    running.cancel()

    async with asyncio.timeout(PATIENCE_S):
        await asyncio.wait([running])


async def test_mail_that_cannot_be_written_holds_up_no_other(db: Database) -> None:
    transport = Transport()
    transport.error = ValueError(HER)
    await enqueue(db, HER)

    with structlog.testing.capture_logs() as logs:
        assert await mailer(db, transport).send_one()

    [mail] = await waiting(db)
    assert (mail.failed, mail.error) == (True, "It failed with ValueError.")
    assert not await mailer(db, transport).send_one()
    assert HER not in str([{**log, "exc_info": None} for log in logs])


async def test_a_mail_is_in_the_language_of_the_profile_or_else_of_the_request(
    db: Database,
) -> None:
    transport = Transport()
    for asked, chosen in [("vi", None), ("vi", "en"), (None, None), (None, "vi")]:
        async with db.transaction() as conn:
            await mails.set_language(conn, asked)
            await mails.enqueue(conn, "sign_in", HER)
            user = await accounts.find_credentials(conn, HER)
        assert user is not None
        claims = Claims(role=Role.AUTHENTICATED, subject=user[0])
        async with db.as_user(claims) as conn:
            await profiles.set_language(conn, chosen)
        assert await mailer(db, transport).send_one()

    subjects = [message["Subject"] for message in transport.sent]
    assert subjects == [
        "Đăng nhập Auto-Match",
        "Sign in to Auto-Match",
        "Sign in to Auto-Match",
        "Đăng nhập Auto-Match",
    ]
    body = transport.sent[0].get_body()
    assert body is not None
    assert '<html lang="vi">' in body.get_content()
