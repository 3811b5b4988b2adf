"""A real mail server that keeps what it is given."""

from __future__ import annotations

import asyncio
import email
import email.policy
import queue
import re
import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.message import EmailMessage
from typing import Any

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

from tests.support.waiting import PATIENCE_S

REFUSED = "nobody@refused.example"


@dataclass
class MailBox:
    """What arrived, and how the server is reached."""

    port: int = 0
    arrived: queue.Queue[EmailMessage] = field(default_factory=queue.Queue)
    passwords: list[str] = field(default_factory=list)
    """Those that were given, right or wrong."""

    @property
    def url(self) -> str:
        return f"smtp://127.0.0.1:{self.port}"

    async def take(self) -> EmailMessage:
        """Return the next message, once it is there."""
        return await asyncio.to_thread(self.arrived.get, timeout=PATIENCE_S)

    async def handle_RCPT(  # noqa: N802  the name that aiosmtpd calls
        self, server: Any, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        if address == REFUSED:
            return "550 5.1.1 no such mailbox"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(  # noqa: N802
        self, server: Any, session: Session, envelope: Envelope
    ) -> str:
        content = envelope.content
        assert isinstance(content, bytes)
        message = email.message_from_bytes(content, policy=email.policy.default)
        assert isinstance(message, EmailMessage)
        self.arrived.put(message)
        return "250 OK"


class _Controller(Controller):
    """Listens on a socket that it is given: a port that was free a moment ago may be taken."""

    def __init__(self, box: MailBox, listener: socket.socket, **options: Any) -> None:
        super().__init__(box, hostname="127.0.0.1", port=box.port, **options)
        self._listener = listener
        self._connections: list[SMTP] = []

    def factory(self) -> SMTP:
        self._connections.append(super().factory())
        return self._connections[-1]

    def _create_server(self) -> Any:
        return self.loop.create_server(
            self._factory_invoker, sock=self._listener, ssl=self.ssl_context
        )

    def stop(self, no_assert: bool = False) -> None:
        ending = asyncio.run_coroutine_threadsafe(self._end_connections(), self.loop)
        ending.result(PATIENCE_S)
        super().stop(no_assert)

    async def _end_connections(self) -> None:
        """End what clients have left open, or have left without having been noticed.

        A socket that is collected before it was closed is an error of whichever test runs then.
        """
        self.server.close()
        # Twice, because one may have begun to speak TLS in between.
        for _ in range(2):
            for connection in self._connections:
                if connection.transport is not None:
                    connection.transport.abort()
            if serving := asyncio.all_tasks() - {asyncio.current_task()}:
                await asyncio.wait(serving)
            # The loop closes a socket after whoever reads from it has ended.
            await asyncio.sleep(0)


@contextmanager
def mail_server(
    *,
    password: str | None = None,
    starttls: ssl.SSLContext | None = None,
    implicit_tls: ssl.SSLContext | None = None,
) -> Iterator[MailBox]:
    """Run a mail server, which checks a password and insists on TLS if it has that."""
    listener = socket.create_server(("127.0.0.1", 0))
    box = MailBox(listener.getsockname()[1])

    def authenticate(*args: Any) -> AuthResult:
        given = args[-1]
        assert isinstance(given, LoginPassword)
        box.passwords.append(given.password.decode())
        return AuthResult(success=given.password.decode() == password, handled=False)

    controller = _Controller(
        box,
        listener,
        server_hostname="mail.test",
        auth_require_tls=False,
        authenticator=authenticate if password is not None else None,
        ssl_context=implicit_tls,
        tls_context=starttls,
        require_starttls=starttls is not None,
        ready_timeout=PATIENCE_S,
    )
    controller.start()
    try:
        yield box
    finally:
        controller.stop()


def text_of(message: EmailMessage) -> str:
    part = message.get_body(("plain",))
    assert part is not None
    return str(part.get_content())


def link_in(message: EmailMessage) -> str:
    """Return the link of a mail, which its HTML has too."""
    [link] = re.findall(r"https?://\S+\?token=\S+", text_of(message))
    html = message.get_body(("html",))
    assert html is not None
    assert link in html.get_content()
    return str(link)
