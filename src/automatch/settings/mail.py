"""Settings of the mail that the server sends."""

from __future__ import annotations

from email.utils import parseaddr
from ipaddress import ip_address
from typing import Self
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, model_validator

from automatch.settings.group import SettingsGroup


class MailSettings(SettingsGroup):
    """Mail to people; without a server, requests wait for an operator in `automatch mail`."""

    smtp_url: SecretStr | None = Field(
        None,
        description="Mail server: `smtp://USER:PASSWORD@HOST:587` (STARTTLS), or `smtps://` for "
        "TLS from the first byte (port 465). Write `%40` for an `@` in a name or password.",
    )
    sender: str | None = Field(
        None,
        max_length=200,
        description="Whom mail is from, such as `Auto-Match <no-reply@example.org>`; needed with "
        "`smtp_url`.",
    )
    allow_plain: bool = Field(
        False,
        description="Send over `smtp://` without TLS to another machine, in a network that nobody "
        "else can read.",
    )
    invitations_per_minute: int = Field(
        60,
        ge=1,
        le=6000,
        description="How many invitations `automatch import --invite` has mailed in a minute.",
    )
    timeout_s: float = Field(20, gt=0, le=300, description="Seconds the mail server may take.")

    @model_validator(mode="after")
    def _server_can_be_used(self) -> Self:
        if self.smtp_url is None:
            return self
        # What was given is not repeated: it holds a password.
        try:
            parts = urlsplit(self.smtp_url.get_secret_value())
            usable = parts.scheme in {"smtp", "smtps"} and parts.hostname and parts.port != 0
        except ValueError:
            usable = False
        if not usable:
            raise ValueError("smtp_url is smtp://USER:PASSWORD@HOST:PORT or smtps://…")
        sender = self.sender or ""
        if "@" not in parseaddr(sender)[1] or not sender.isprintable():
            raise ValueError("sender is an e-mail address, and is needed with smtp_url")
        return self

    @property
    def needs_tls(self) -> bool:
        """Whether a connection by `smtp://` is given up when the server offers no STARTTLS."""
        assert self.smtp_url is not None
        host = urlsplit(self.smtp_url.get_secret_value()).hostname or ""
        try:
            is_local = ip_address(host).is_loopback
        except ValueError:
            is_local = host == "localhost"
        return not (is_local or self.allow_plain)
