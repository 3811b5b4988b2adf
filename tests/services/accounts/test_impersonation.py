"""Signing in as somebody else: off by default, limited, and told to the person."""

from __future__ import annotations

from uuid import UUID

import pytest

from automatch.errors.request import ForbiddenError, InputInvalidError
from automatch.mail.compose import compose_mail
from automatch.mail.message import MailKind
from automatch.model.operators import Operator
from automatch.services.accounts.impersonation import impersonate
from automatch.settings.server import AuthSettings
from tests.http.test_errors import check
from tests.support.operators import Desk
from tests.support.system import PASSWORD, Person, System

pytestmark = pytest.mark.anyio

ROOT = Operator.of_machine("cli:linh")
WHY = "asked us <why> she has no matches"


@pytest.fixture
async def her(server: System) -> Person:
    return await server.sign_up()


async def acting_as(desk: Desk, person: Person) -> Person:
    she = UUID(person.id)
    token = await impersonate(desk.db, ROOT, she, WHY, tokens=desk.tokens, is_allowed=True)
    return Person(person.id, person.email, token, person.client)


@pytest.mark.parametrize(
    ("is_allowed", "reason", "error"),
    [(False, WHY, ForbiddenError), (True, None, InputInvalidError)],
    ids=["off", "no reason"],
)
async def test_nobody_is_impersonated_unless_it_is_allowed_and_has_a_reason(
    desk: Desk, is_allowed: bool, reason: str | None, error: type[Exception]
) -> None:
    she = desk.person("linh@example.org")

    with pytest.raises(error):
        await impersonate(desk.db, ROOT, she, reason, tokens=desk.tokens, is_allowed=is_allowed)

    assert desk.conn.execute("select from auth.sessions").fetchall() == []
    assert desk.audited() == []


async def test_operator_sees_what_the_person_sees_and_cannot_take_the_account(
    desk: Desk, her: Person
) -> None:
    operator = await acting_as(desk, her)

    assert (await operator.get("/api/profile")).status_code == 200
    changes = {"password": "another horse, another battery"}, {"email": "mine@example.org"}
    for change in changes:
        answer = await operator.client.put("/auth/v1/user", json=change, headers=operator.headers)
        check(answer, 400, "reauthentication_needed")
    # Signing out everywhere else ends it.
    await her.client.post("/auth/v1/logout", params={"scope": "others"}, headers=her.headers)
    assert (await operator.get("/api/profile")).status_code == 401
    assert (await her.get("/api/profile")).status_code == 200


async def test_person_is_told_on_the_page_and_by_mail(
    desk: Desk, server: System, her: Person
) -> None:
    await acting_as(desk, her)
    await acting_as(desk, her)

    await server.client.post("/sign-in", data={"email": her.email, "password": PASSWORD})
    account = (await server.client.get("/account")).text
    mails = desk.conn.execute("select kind, recipient from automatch.mails").fetchall()
    async with desk.db.transaction() as conn:
        mail = await compose_mail(
            conn,
            MailKind.IMPERSONATION,
            her.email,
            UUID(her.id),
            server_url="https://match.example.org",
            settings=AuthSettings(),
        )

    assert account.count("Someone who runs this site signed in as you on") == 2
    assert "asked us &lt;why&gt; she has no matches" in account
    assert account.count("Elsewhere, since") == 1
    assert mails == [("impersonation", her.email)]
    assert mail is not None
    assert mail.text.count(WHY) == 2
    assert mail.html.count("asked us &lt;why&gt; she") == 2
    assert "https://match.example.org/account" in mail.text
