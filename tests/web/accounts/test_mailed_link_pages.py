"""Pages for a forgotten password, where no mail is sent and an operator hands the link over."""

from __future__ import annotations

import itertools
import re
from dataclasses import dataclass, field
from urllib.parse import quote
from uuid import UUID

import psycopg
import pytest

from automatch.store.accounts import accounts
from automatch.store.accounts.accounts import hash_token
from tests.support.system import PASSWORD, System
from tests.web.test_pages import browser, sign_up, text_of

pytestmark = pytest.mark.anyio

NEW_PASSWORD = "another horse, another battery"
HER = "linh@example.org"
TOKEN = "a token that somebody was handed"


async def hand_over(
    system: System,
    purpose: str = "recovery",
    *,
    email: str = HER,
    token: str = TOKEN,
    confirmed: bool = False,
) -> None:
    async with await psycopg.AsyncConnection.connect(system.database.owner) as conn:
        if confirmed:
            await conn.execute("update auth.users set email_confirmed_at = now()")
        assert await accounts.create_one_time_token(
            conn, email=email, purpose=purpose, token_sha256=hash_token(token), life_s=600
        )


async def test_request_without_mail_server_is_kept_for_the_operator(server: System) -> None:
    async with browser(server) as client:
        assert "/forgot-password" in (await client.get("/sign-in")).text
        assert "Ask for a link" in (await client.get("/forgot-password")).text
        page = await client.post("/forgot-password", data={"email": HER})
        wrong = await client.post("/forgot-password", data={"email": "linh"})

    assert "Ask whoever runs this site" in text_of(page)
    assert wrong.status_code == 422
    assert "Enter an e-mail address" in text_of(wrong)


async def test_link_survives_whoever_only_opens_it_and_is_used_by_a_password(
    server: System,
) -> None:
    path = f"/reset-password?token={quote(TOKEN)}"
    async with browser(server) as her, browser(server) as elsewhere:
        await sign_up(elsewhere, HER)
        await hand_over(server)
        for _ in range(2):
            page = await her.get(path)
            assert HER in text_of(page)
            assert page.headers["referrer-policy"] in {"no-referrer", "same-origin"}
        weak = await her.post("/reset-password", data={"token": TOKEN, "password": "short"})
        assert weak.status_code == 422
        assert "at least 8 characters" in text_of(weak)
        saved = await her.post("/reset-password", data={"token": TOKEN, "password": NEW_PASSWORD})

        assert saved.url.path == "/onboarding"
        assert (await elsewhere.get("/onboarding")).url.path == "/sign-in"
        again = await her.get(path)
        assert again.status_code == 403
        assert "used already" in text_of(again)
        assert (await her.post("/reset-password", data={"token": TOKEN})).status_code == 403
        signed_in = await elsewhere.post("/sign-in", data={"email": HER, "password": PASSWORD})
        assert signed_in.status_code == 400
        signed_in = await elsewhere.post("/sign-in", data={"email": HER, "password": NEW_PASSWORD})
        assert signed_in.url.path == "/onboarding"


async def test_link_to_sign_in_asks_for_a_click_and_sets_no_password(server: System) -> None:
    async with browser(server) as her, browser(server) as elsewhere:
        await sign_up(elsewhere, HER)
        await hand_over(server, "sign_in", confirmed=True)
        page = await her.get(f"/sign-in-link?token={quote(TOKEN)}")
        assert HER in text_of(page)
        form = {"token": TOKEN, "password": NEW_PASSWORD}
        assert (await her.post("/reset-password", data=form)).status_code == 403

        assert (await her.post("/sign-in-link", data=form)).url.path == "/onboarding"
        assert (await her.post("/sign-in-link", data=form)).status_code == 403
        # Nobody else was signed out.
        assert (await elsewhere.get("/onboarding")).url.path == "/onboarding"


async def test_address_is_confirmed_on_the_page_of_the_account(server: System) -> None:
    async with browser(server) as her, browser(server) as elsewhere:
        await sign_up(her, HER)
        assert "Confirm your address" in text_of(await her.get("/account"))
        asked = await her.post("/account/confirm")
        assert "can't send e-mail" in text_of(asked)
        await hand_over(server, "sign_up")
        page = await elsewhere.get(f"/confirm-address?token={quote(TOKEN)}")
        assert "just close this page" in text_of(page)

        confirmed = await elsewhere.post("/confirm-address", data={"token": TOKEN})

        assert confirmed.url.path == "/account"
        assert "is confirmed" in text_of(confirmed)
        assert "Confirm your address" not in text_of(confirmed)
        # The password is hers, and she stays signed in.
        assert (await her.get("/account")).url.path == "/account"


async def test_link_of_another_account_asks_before_it_ends_the_session(server: System) -> None:
    async with browser(server) as browser_of_his:
        await sign_up(browser_of_his, HER)
        await browser_of_his.post("/sign-out")
        await sign_up(browser_of_his, "minh@example.org")
        await hand_over(server, "sign_in", confirmed=True)
        page = await browser_of_his.get(f"/sign-in-link?token={quote(TOKEN)}")
        assert "You're signed in as minh@example.org" in text_of(page)
        [his_id] = re.findall(r'name="instead_of" value="([^"]+)"', page.text)

        # As from a page that was opened before he signed in.
        for agreed_to in ("", str(UUID(int=1))):
            form = {"token": TOKEN, "instead_of": agreed_to}
            asked = await browser_of_his.post("/sign-in-link", data=form)
            assert "You're signed in as minh@example.org" in text_of(asked)
        assert "minh@example.org" in text_of(await browser_of_his.get("/account"))
        form = {"token": TOKEN, "instead_of": his_id}
        await browser_of_his.post("/sign-in-link", data=form)

        assert HER in text_of(await browser_of_his.get("/account"))
        # His session has ended, and not only in this browser.
        with psycopg.connect(server.database.owner) as conn:
            sessions = conn.execute(
                "select count(*) from auth.sessions where user_id = %s", [his_id]
            ).fetchone()
        assert sessions == (0,)


@dataclass(frozen=True)
class Link:
    """A page, the type of its tokens in `/auth/v1/verify`, and the field that it asks for."""

    purpose: str
    path: str
    type: str
    form: dict[str, str] = field(default_factory=dict)


@pytest.mark.parametrize(
    "link",
    [
        Link("recovery", "/reset-password", "recovery", {"password": NEW_PASSWORD}),
        Link("sign_in", "/sign-in-link", "magiclink", {"password": NEW_PASSWORD}),
        Link("sign_up", "/confirm-address", "signup"),
        Link("invite", "/invitation", "invite", {"password": NEW_PASSWORD}),
        Link("email_new", "/confirm-email", "email_change"),
    ],
    ids=lambda link: link.purpose,
)
async def test_every_link_is_single_short_lived_bound_and_safe_to_open(
    server: System, link: Link, subtests: pytest.Subtests
) -> None:
    change = "insert into auth.email_changes (user_id, new_email, expires_at) select id, {}, {} "
    change = change.format("'new@example.org'", "now() + interval '1 hour'") + "from auth.users"
    serial = itertools.count()

    async def fresh(ended_by: str = "") -> str:
        """Return a link to a new account, after a statement that is to end it."""
        email, token = f"her{next(serial)}@example.org", f"{TOKEN} {next(serial)}"
        with psycopg.connect(server.database.owner) as conn:
            conn.execute("select auth.create_user(%s, 'a hash', '{}')", [email])
            if link.purpose == "email_new":
                conn.execute("delete from auth.email_changes")
                conn.execute(f"{change} where email = %s".encode(), [email])
                email = "new@example.org"
        await hand_over_to(email, token)
        if ended_by:
            with psycopg.connect(server.database.owner) as conn:
                conn.execute(ended_by.encode())
        return token

    async def hand_over_to(email: str, token: str) -> None:
        async with await psycopg.AsyncConnection.connect(server.database.owner) as conn:
            cursor = await conn.execute("select user_id from auth.email_changes")
            changed = await cursor.fetchone()
            assert await accounts.create_one_time_token(
                conn,
                email=email,
                purpose=link.purpose,
                token_sha256=hash_token(token),
                life_s=600,
                user_id=changed[0] if changed else None,
            )

    async with browser(server) as client:

        async def works(token: str) -> bool:
            async with browser(server) as client:
                answer = await client.post(link.path, data=link.form | {"token": token})
                return answer.status_code == 200

        with subtests.test("opened by scanners, leaks to no other site, and is used once"):
            token = await fresh()
            for _ in range(2):
                page = await client.get(link.path, params={"token": token})
                assert page.status_code == 200
                # A form needs `Origin`, which a browser leaves out under `no-referrer`.
                assert page.headers["referrer-policy"] == "same-origin"
                assert page.headers["cache-control"] == "no-store"
                assert not re.findall(r"""(?:src|href|action)=["'](?:https?:)?//""", page.text)
                assert (await client.head(link.path, params={"token": token})).status_code != 200
            assert await works(token)
            assert not await works(token)
        with subtests.test("is of one kind"):
            token = await fresh()
            for kind in ("signup", "invite", "recovery", "magiclink", "email_change"):
                if kind != link.type:
                    body = {"type": kind, "token_hash": token}
                    answer = await server.client.post("/auth/v1/verify", json=body)
                    assert answer.status_code == 403, kind
            assert await works(token)
        for name, statement in [
            ("time", "update auth.one_time_tokens set expires_at = now() - interval '1 s'"),
            ("another address", "update auth.users set email = 'x' || email"),
            ("another password", "update auth.users set encrypted_password = 'another hash'"),
        ]:
            with subtests.test(f"is ended by {name}"):
                assert not await works(await fresh(ended_by=statement))
