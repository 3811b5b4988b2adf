"""Pages for a forgotten password, where no mail is sent and an operator hands the link over."""

from __future__ import annotations

from urllib.parse import quote

import psycopg
import pytest

from automatch.store import accounts
from automatch.store.accounts import hash_token
from tests.support.system import PASSWORD, System
from tests.web.test_pages import browser, sign_up, text_of

pytestmark = pytest.mark.anyio

NEW_PASSWORD = "another horse, another battery"
HER = "linh@example.org"
TOKEN = "a token that somebody was handed"


async def hand_over(system: System, purpose: str = "recovery") -> None:
    async with await psycopg.AsyncConnection.connect(system.database.owner) as conn:
        assert await accounts.create_one_time_token(
            conn, email=HER, purpose=purpose, token_sha256=hash_token(TOKEN), life_s=600
        )


async def test_request_without_mail_server_is_kept_for_the_operator(server: System) -> None:
    async with browser(server) as client:
        assert "/forgot-password" in (await client.get("/sign-in")).text
        assert "Ask for a link" in (await client.get("/forgot-password")).text
        page = await client.post("/forgot-password", data={"email": HER})
        wrong = await client.post("/forgot-password", data={"email": "linh"})

    assert "Ask whoever runs it" in text_of(page)
    assert wrong.status_code == 422
    assert "Give a valid e-mail address." in text_of(wrong)


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
        await hand_over(server, "sign_in")
        page = await her.get(f"/sign-in-link?token={quote(TOKEN)}")
        assert HER in text_of(page)
        form = {"token": TOKEN, "password": NEW_PASSWORD}
        assert (await her.post("/reset-password", data=form)).status_code == 403

        assert (await her.post("/sign-in-link", data=form)).url.path == "/onboarding"
        assert (await her.post("/sign-in-link", data=form)).status_code == 403
        # Nobody else was signed out.
        assert (await elsewhere.get("/onboarding")).url.path == "/onboarding"
