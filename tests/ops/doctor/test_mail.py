"""The doctor's check of mail."""

from __future__ import annotations

from dataclasses import replace

import pytest

from automatch.ops.doctor.check import Health
from automatch.settings.mail import MailSettings
from tests.support.doctor import Installation

pytestmark = pytest.mark.anyio

_MAIL = MailSettings.model_validate({"smtp_url": "smtp://127.0.0.1", "sender": "a@uit.example"})
_ASKED = (
    "select auth.create_user('linh@example.org', 'x', '{}'),"
    " public.enqueue_mail('recovery', 'linh@example.org')"
)


async def test_people_who_wait_for_a_link_are_told(installation: Installation) -> None:
    assert (await installation.check("mail.queue")).health is Health.SKIPPED
    await installation.run(_ASKED)
    await installation.run(
        "update automatch.mails set requested_at = requested_at - interval '2 minutes'"
    )

    without = await installation.check("mail.queue")
    assert without.health is Health.WARN
    assert "1 person waits" in without.message

    settings = installation.settings.model_copy(
        update={"mail": _MAIL, "public_url": "https://match.example.org"}
    )
    sending = replace(installation, settings=settings)
    await installation.run("update automatch.mails set error = 'The mail server is away.'")
    failing = await sending.check("mail.queue")
    assert failing.health is Health.FAIL
    assert "The mail server is away." in failing.message
    await installation.run("delete from automatch.mails")
    assert (await sending.check("mail.queue")).health is Health.OK

    local = replace(installation, settings=settings.model_copy(update={"public_url": None}))
    assert (await local.check("mail.queue")).health is Health.WARN
