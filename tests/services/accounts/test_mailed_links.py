"""Coming in and back by a mailed link: `/auth/v1/signup`, `recover`, `otp`, `resend`, `verify`."""

from __future__ import annotations

import json
import re
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
from tests.support.clients import CLIENTS, Program, environment_of, node, running
from tests.support.postgres import Database, TestCluster
from tests.support.smtp import MailBox, link_in, mail_server, text_of
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

    async def post(self, path: str, **body: object) -> httpx2.Response:
        return await self.system.client.post(f"/auth/v1/{path}", json=body)

    async def sign_up_confirmed(self) -> Person:
        person = await self.system.sign_up()
        self.run("update auth.users set email_confirmed_at = now()")
        return person

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


async def test_new_account_is_used_once_its_address_is_confirmed(mailing: Mailing) -> None:
    account = {"email": "linh@example.org", "password": PASSWORD}
    new = (await mailing.post("signup", **account, data={"theme": "dark"})).json()
    links = [link_in(await mailing.box.take())]
    await mailing.post("resend", email=account["email"], type="signup")
    links.append(link_in(await mailing.box.take()))

    assert "access_token" not in new
    assert new["email_confirmed_at"] is None
    unknown = await mailing.post("token", **account | {"email": "nobody@example.org"})
    early = await mailing.post("token", **account)
    assert (early.status_code, early.content) == (400, unknown.content)
    page = await mailing.system.client.get(links[1].removeprefix("https://match.example.org"))
    assert 'name="password"' in page.text
    # Whoever asks for another link does not end the first.
    session = (await mailing.verify(token_in(links[0]), "signup")).json()
    assert session["user"]["id"] == new["id"]
    assert session["user"]["email_confirmed_at"] is not None
    assert session["user"]["user_metadata"] == {"theme": "dark"}
    check(await mailing.verify(token_in(links[1]), "signup"), 403, "link_expired")
    assert (await mailing.post("token", **account)).status_code == 200
    offered = await mailing.system.client.get("/auth/v1/settings")
    assert offered.json()["mailer_autoconfirm"] is False


async def test_sign_up_answers_alike_for_an_address_that_has_an_account(mailing: Mailing) -> None:
    her = await mailing.sign_up_confirmed()
    free, taken = [
        (await mailing.post("signup", email=email, password=NEW_PASSWORD, data={"a": 1})).json()
        for email in ("free@example.org", her.email)
    ]
    mails = [await mailing.box.take() for _ in "12"]

    def form_of(answer: object) -> object:
        """Return an answer without the values of ids and times, and without its address."""
        if isinstance(answer, dict):
            return {key: form_of(value) for key, value in answer.items()}
        if isinstance(answer, list):
            return [form_of(value) for value in answer]
        text = str(answer).replace(her.email, "free@example.org")
        return re.sub(r"[0-9a-f-]{36}|\d{4}-\d\d-\d\dT[0-9:.]+", "…", text)

    assert form_of(free) == form_of(taken)
    assert taken["id"] != her.id
    assert {mail["To"]: mail["Subject"] for mail in mails} == {
        "free@example.org": "Confirm your e-mail address for Auto-Match",
        her.email: "You already have an Auto-Match account",
    }
    assert "token" not in text_of(mails[1])
    assert await mailing.sign_in(her, PASSWORD) == 200
    pages = [
        await mailing.system.client.post(
            "/sign-up", data={"email": email}, headers={"origin": "https://match.example.org"}
        )
        for email in ("elsewhere@example.org", her.email)
    ]
    assert "Check your e-mail" in pages[0].text
    assert pages[0].text.replace("elsewhere@example.org", her.email) == pages[1].text


async def test_link_ends_the_password_of_whoever_signed_up_with_a_strange_address(
    mailing: Mailing,
) -> None:
    thief = await mailing.system.sign_up()
    await mailing.post("otp", email=thief.email)
    link = link_in(await mailing.box.take())
    page = await mailing.system.client.get(link.removeprefix("https://match.example.org"))
    assert 'name="password"' in page.text

    assert (await mailing.verify(token_in(link), "magiclink")).status_code == 200

    assert await mailing.sign_in(thief, PASSWORD) == 400
    assert (await thief.get("/auth/v1/user")).status_code == 401


async def test_link_to_sign_in_is_mailed_and_makes_no_account(mailing: Mailing) -> None:
    her = await mailing.sign_up_confirmed()
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


async def test_javascript_client_comes_in_and_back_by_mailed_links(mailing: Mailing) -> None:
    email = "linh@example.org"
    steps = {}

    async def follow(program: Program, *names: str) -> None:
        for name in names:
            step = json.loads(await program.line())
            assert step.pop("step") == name
            steps[name] = step

    async def mailed_token() -> str:
        return token_in(link_in(await mailing.box.take()))

    command = [node(), str(CLIENTS / "mailed_links.mjs")]
    async with running(command, environment_of(mailing.system, email)) as program:
        await follow(program, "sign up", "too early")
        await mailed_token()
        program.say("again")
        await follow(program, "resend")
        program.say(await mailed_token())
        await follow(program, "confirm", "sign in", "sign up again", "forget")
        assert (await mailing.box.take())["Subject"] == "You already have an Auto-Match account"
        program.say(await mailed_token())
        await follow(program, "recover", "new password", "ask")
        program.say(await mailed_token())
        await follow(program, "by link", "change")
        for _ in "12":
            await mailed_token()
        program.say("again")
        await follow(program, "resend change")
        tokens = [await mailed_token() for _ in "12"]
        for token in (*tokens, tokens[1]):
            program.say(token)
        await follow(program, "one address", "both addresses", "used")

    errors = {name: step["error"] for name, step in steps.items() if step["error"]}
    assert errors == {"too early": "invalid_credentials", "used": "otp_expired"}
    assert {name for name, step in steps.items() if step["signedIn"]} == {
        *("confirm", "sign in", "recover", "by link", "both addresses"),
    }
    # What a client takes for a sign-up of a new address.
    assert steps["sign up"] == steps["sign up again"]
    assert (steps["sign up"]["identities"], steps["sign up"]["confirmed"]) == (1, False)
    assert steps["confirm"]["confirmed"]
    assert steps["both addresses"]["email"] == f"new.{email}"


async def change_email(mailing: Mailing, person: Person, email: str) -> httpx2.Response:
    return await mailing.system.client.put(
        "/auth/v1/user", headers=person.headers, json={"email": email}
    )


async def test_address_changes_once_both_have_confirmed(mailing: Mailing) -> None:
    her = await mailing.sign_up_confirmed()
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

    assert "your other address, too" in (await confirm(new)).text
    assert (await confirm(new)).status_code == 403
    assert (await her.get("/auth/v1/user")).json()["email"] == her.email
    assert "is changed" in (await confirm(her.email)).text
    assert (await her.get("/auth/v1/user")).json()["email"] == new
    assert (await her.get("/api/profile")).json()["email"] == new
    assert await mailing.sign_in(her, PASSWORD) == 400


async def test_links_of_a_change_are_mailed_again_and_verified_by_a_client(
    mailing: Mailing,
) -> None:
    her = await mailing.sign_up_confirmed()
    for email in (her.email, "nobody@example.org"):
        answer = await mailing.post("resend", email=email, type="email_change")
        assert (answer.status_code, answer.json()) == (200, {})
    await change_email(mailing, her, "new@example.org")
    for _ in "12":
        await mailing.box.take()
    await mailing.post("resend", email=her.email, type="email_change")
    tokens = [token_in(link_in(await mailing.box.take())) for _ in "12"]

    first, second = [await mailing.verify(token, "email_change") for token in tokens]

    assert (first.status_code, first.json()["code"]) == (200, 200)
    assert second.json()["user"]["email"] == "new@example.org"
    assert second.json()["user"]["email_confirmed_at"] is not None
    assert second.json()["access_token"]
    check(await mailing.verify(tokens[1], "email_change"), 403, "link_expired")


async def test_address_that_was_mistyped_is_corrected_by_the_new_one_alone(
    mailing: Mailing,
) -> None:
    her = await mailing.system.sign_up()
    await change_email(mailing, her, "right@example.org")
    message = await mailing.box.take()

    changed = await mailing.verify(token_in(link_in(message)), "email_change")

    assert message["To"] == changed.json()["user"]["email"] == "right@example.org"


async def test_address_of_somebody_else_is_not_told_and_gets_no_mail(mailing: Mailing) -> None:
    her, him = await mailing.system.sign_up(), await mailing.system.sign_up()

    free = await change_email(mailing, her, "free@example.org")
    # A mail about it is only written as long as she has not asked for another address.
    told = [await mailing.box.take()]
    taken = await change_email(mailing, her, him.email)

    assert (free.status_code, free.json()) == (taken.status_code, taken.json())
    check(await change_email(mailing, her, her.email), 422, "input_invalid")
    # What was asked for before has gone out by then, one after the other.
    await mailing.recover(him.email)
    told.append(await mailing.box.take())
    await mailing.recover(her.email)
    assert (await mailing.box.take())["To"] == her.email
    assert {mail["To"]: mail["Subject"] for mail in told} == {
        "free@example.org": "Confirm your new e-mail address for Auto-Match",
        him.email: "Choose a new password for Auto-Match",
    }


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
    her = await mailing.sign_up_confirmed()
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
