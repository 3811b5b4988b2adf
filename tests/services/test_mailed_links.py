"""Coming back without the password: `/auth/v1/recover`, a mail, and `/auth/v1/verify`."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from urllib.parse import parse_qs, urlsplit

import httpx2
import psycopg
import pytest

from automatch.settings import Settings
from automatch.settings.limits import LimitSettings
from automatch.settings.mail import MailSettings
from tests.http.test_errors import check
from tests.support.postgres import Database, TestCluster
from tests.support.smtp import MailBox, link_in, mail_server
from tests.support.system import PASSWORD, Person, System, running_server

pytestmark = pytest.mark.anyio

NEW_PASSWORD = "another horse, another battery"


@dataclass(frozen=True)
class Mailing:
    """A server, and the mail server that it uses."""

    system: System
    box: MailBox

    async def recover(self, email: str, **headers: str) -> httpx2.Response:
        return await self.system.client.post(
            "/auth/v1/recover", json={"email": email}, headers=headers
        )

    async def token_for(self, person: Person) -> str:
        answer = await self.recover(person.email)
        assert (answer.status_code, answer.json()) == (200, {})
        return token_in(link_in(await self.box.take()))

    async def verify(self, token: str, kind: str = "recovery") -> httpx2.Response:
        return await self.system.client.post(
            "/auth/v1/verify", json={"type": kind, "token_hash": token}
        )

    async def sign_in(self, person: Person, password: str) -> int:
        answer = await self.system.client.post(
            "/auth/v1/token", json={"email": person.email, "password": password}
        )
        return answer.status_code

    def run(self, statement: str) -> None:
        with psycopg.connect(self.system.database.owner) as conn:
            conn.execute(statement)


def token_in(link: str) -> str:
    [token] = parse_qs(urlsplit(link).query)["token"]
    return token


@pytest.fixture
async def mailing(
    settings: Settings, cluster: TestCluster, database: Database
) -> AsyncIterator[Mailing]:
    with mail_server() as box:
        used = settings.model_copy(
            update={
                "mail": MailSettings.model_validate(
                    {"smtp_url": box.url, "sender": "Auto-Match <no-reply@uit.example>"}
                ),
                "public_url": "https://match.example.org",
            }
        )
        async with running_server(used, cluster.secrets, database) as system:
            yield Mailing(system, box)


async def test_forgotten_password_is_replaced_by_a_mailed_link(mailing: Mailing) -> None:
    her = await mailing.system.sign_up()
    token = await mailing.token_for(her)

    answer = await mailing.verify(token)
    assert answer.status_code == 200
    session = answer.json()
    assert session["user"]["id"] == her.id
    headers = {"authorization": f"Bearer {session['access_token']}"}
    changed = await mailing.system.client.put(
        "/auth/v1/user", json={"password": NEW_PASSWORD}, headers=headers
    )

    assert changed.status_code == 200
    assert (await her.get("/auth/v1/user")).status_code == 401
    assert await mailing.sign_in(her, NEW_PASSWORD) == 200
    assert await mailing.sign_in(her, PASSWORD) == 400


async def test_link_works_once_and_ends_those_beside_it(mailing: Mailing) -> None:
    her = await mailing.system.sign_up()
    first, second = [await mailing.token_for(her) for _ in range(2)]

    # Whoever asks for another link does not end hers.
    assert (await mailing.verify(first)).status_code == 200
    for token in (first, second, "", "x" * 300, "é"):
        answer = await mailing.verify(token)
        check(answer, 403, "link_expired")
        assert answer.json()["error_code"] == "otp_expired"


async def test_link_to_sign_in_is_mailed_and_makes_no_account(mailing: Mailing) -> None:
    her = await mailing.system.sign_up()
    for email in ("nobody@example.org", her.email):
        answer = await mailing.system.client.post("/auth/v1/otp", json={"email": email})
        assert (answer.status_code, answer.json()) == (200, {})
    message = await mailing.box.take()
    token = token_in(link_in(message))

    assert message["To"] == her.email
    # It is good for what it says alone.
    check(await mailing.verify(token), 403, "link_expired")
    assert (await mailing.verify(token, "magiclink")).json()["user"]["id"] == her.id
    check(await mailing.verify(token, "email"), 403, "link_expired")
    assert await mailing.sign_in(her, PASSWORD) == 200


async def test_link_expires(mailing: Mailing) -> None:
    token = await mailing.token_for(await mailing.system.sign_up())
    mailing.run("update auth.one_time_tokens set expires_at = now() - interval '1 second'")

    check(await mailing.verify(token), 403, "link_expired")


async def test_address_of_the_link_does_not_come_from_the_request(mailing: Mailing) -> None:
    her = await mailing.system.sign_up()
    answer = await mailing.recover(
        her.email, **{"host": "evil.example", "x-forwarded-host": "evil.example"}
    )

    assert answer.status_code == 200
    assert link_in(await mailing.box.take()).startswith("https://match.example.org/")


async def test_answer_does_not_tell_whether_there_is_an_account(mailing: Mailing) -> None:
    her = await mailing.system.sign_up()
    theirs = await mailing.recover("nobody@example.org")
    hers = await mailing.recover(her.email)

    assert (theirs.status_code, theirs.content) == (hers.status_code, hers.content)
    # Mails are sent in the order in which they were asked for, so there is none for nobody.
    assert (await mailing.box.take())["To"] == her.email
    check(await mailing.recover("linh"), 422, "input_invalid")


async def test_links_for_one_address_are_limited_whether_or_not_it_has_an_account(
    settings: Settings, cluster: TestCluster, database: Database
) -> None:
    limited = settings.model_copy(update={"limits": LimitSettings(mailed_links_account="2/hour")})
    async with running_server(limited, cluster.secrets, database) as system:
        her = await system.sign_up()
        for email in (her.email, "nobody@example.org"):
            answers = [
                await system.client.post("/auth/v1/recover", json={"email": email})
                for _ in range(3)
            ]
            assert [answer.status_code for answer in answers] == [200, 200, 429]


async def change_email(mailing: Mailing, person: Person, email: str) -> httpx2.Response:
    return await mailing.system.client.put(
        "/auth/v1/user", headers=person.headers, json={"email": email}
    )


async def test_address_changes_once_both_have_confirmed(mailing: Mailing) -> None:
    her = await mailing.system.sign_up()
    new = f"new.{her.email}"
    assert (await change_email(mailing, her, new.upper())).json()["email"] == her.email
    links = {}
    for _ in range(2):
        message = await mailing.box.take()
        links[message["To"]] = link_in(message)
    assert links.keys() == {her.email, new}

    async def confirm(email: str) -> httpx2.Response:
        return await mailing.system.client.post(
            "/confirm-email",
            data={"token": token_in(links[email])},
            headers={"origin": "https://match.example.org"},
        )

    assert "your other address too" in (await confirm(new)).text
    assert (await confirm(new)).status_code == 403
    assert (await her.get("/auth/v1/user")).json()["email"] == her.email
    assert "is changed" in (await confirm(her.email)).text
    assert (await her.get("/auth/v1/user")).json()["email"] == new
    assert (await her.get("/api/profile")).json()["email"] == new
    assert await mailing.sign_in(her, PASSWORD) == 400


async def test_address_of_somebody_else_is_not_told_and_gets_no_mail(mailing: Mailing) -> None:
    her, him = await mailing.system.sign_up(), await mailing.system.sign_up()

    free = await change_email(mailing, her, "free@example.org")
    taken = await change_email(mailing, her, him.email)

    assert (free.status_code, free.json()) == (taken.status_code, taken.json())
    check(await change_email(mailing, her, her.email), 422, "input_invalid")
    # Mails go out in the order in which they were asked for: all others are before this one.
    await mailing.recover(him.email)
    told = []
    while not told or told[-1]["To"] != him.email:
        told.append(await mailing.box.take())
    assert told[-1]["Subject"] == "Choose a new password for Auto-Match"


async def test_two_people_who_want_one_address_get_a_mail_each(mailing: Mailing) -> None:
    people = [await mailing.system.sign_up() for _ in "12"]
    for person in people:
        await change_email(mailing, person, "shared@example.org")

    asked = []
    while len(asked) < 2:
        message = await mailing.box.take()
        if message["To"] == "shared@example.org":
            asked.append(link_in(message))
    pages = [
        (await mailing.system.client.get("/confirm-email", params={"token": token_in(link)})).text
        for link in asked
    ]
    # The page says whose account it is about, without telling an address to whoever gets the mail.
    assert all("…@example.org to shared@example.org" in page for page in pages)
    assert not any(person.email in page for person in people for page in pages)


async def test_new_password_ends_all_links_and_changes_of_before(mailing: Mailing) -> None:
    her = await mailing.system.sign_up()
    await mailing.system.client.post("/auth/v1/otp", json={"email": her.email})
    sign_in_link = token_in(link_in(await mailing.box.take()))
    await change_email(mailing, her, "thief@example.org")
    change_links = [token_in(link_in(await mailing.box.take())) for _ in "12"]

    headers = her.headers
    body = {"password": NEW_PASSWORD}
    assert (
        await mailing.system.client.put("/auth/v1/user", headers=headers, json=body)
    ).status_code == 200

    check(await mailing.verify(sign_in_link, "magiclink"), 403, "link_expired")
    for link in change_links:
        page = await mailing.system.client.get("/confirm-email", params={"token": link})
        assert page.status_code == 403
