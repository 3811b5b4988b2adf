"""Settings of mail: what cannot work is refused, and when TLS may be missing."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from automatch.settings import Settings
from automatch.settings.mail import MailSettings

SENDER = "Auto-Match <no-reply@uit.example>"


@pytest.mark.parametrize(
    ("host", "allow_plain", "needs_tls"),
    [
        ("127.0.0.1", False, False),
        ("[::1]", False, False),
        ("localhost", False, False),
        ("mail.example.org", False, True),
        ("192.0.2.1", False, True),
        ("mail.example.org", True, False),
    ],
)
def test_only_another_machine_needs_tls(host: str, allow_plain: bool, needs_tls: bool) -> None:
    settings = MailSettings.model_validate(
        {"smtp_url": f"smtp://me:secret@{host}", "sender": SENDER, "allow_plain": allow_plain}
    )

    assert settings.needs_tls is needs_tls


@pytest.mark.parametrize(
    "wrong",
    [
        {"smtp_url": "https://mail.example.org", "sender": SENDER},
        {"smtp_url": "smtp://", "sender": SENDER},
        {"smtp_url": "smtp://me:secret@mail.example.org:x", "sender": SENDER},
        {"smtp_url": "smtp://me:secret@mail.example.org"},
        {"smtp_url": "smtp://me:secret@mail.example.org", "sender": "Auto-Match"},
        {"smtp_url": "smtp://me:secret@mail.example.org", "sender": "a\nBcc: x <a@b.example>"},
    ],
)
def test_settings_that_cannot_work_are_refused_without_their_password(wrong: dict) -> None:
    with pytest.raises(ValidationError) as refused:
        MailSettings.model_validate(wrong)

    assert "secret" not in refused.value.errors()[0]["msg"]


@pytest.mark.parametrize(
    ("server", "issuer", "mails"),
    [
        ({}, {}, False),
        ({"mail": {"smtp_url": "smtp://127.0.0.1", "sender": SENDER}}, {}, True),
        (
            {"mail": {"smtp_url": "smtp://127.0.0.1", "sender": SENDER}},
            {"supabase_url": "https://project.supabase.co"},
            False,
        ),
    ],
)
def test_people_who_sign_in_elsewhere_get_no_mail(server: dict, issuer: dict, mails: bool) -> None:
    assert Settings.model_validate({**server, **issuer}).mails_people is mails
