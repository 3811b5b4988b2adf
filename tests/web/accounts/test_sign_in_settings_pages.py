"""The page of password and sessions."""

from __future__ import annotations

import pytest

from tests.support.system import PASSWORD, System
from tests.web.test_pages import browser, onboard, sign_up, text_of

pytestmark = pytest.mark.anyio

NEW_PASSWORD = "another horse, another battery"
HER = "linh@example.org"


async def test_password_is_changed_and_other_sessions_end(server: System) -> None:
    async with browser(server) as her, browser(server) as elsewhere:
        await sign_up(her, HER)
        await onboard(her)
        await elsewhere.post("/sign-in", data={"email": HER, "password": PASSWORD})
        assert "/account" in (await her.get("/profile")).text
        page = await her.get("/account")
        assert text_of(page).count("This browser") == 1
        assert "Elsewhere, since" in text_of(page)

        form = {"current_password": "wrong", "password": NEW_PASSWORD}
        wrong = await her.post("/account/password", data=form)
        assert wrong.status_code == 400
        assert "isn't your current password" in text_of(wrong)
        form = {"new_email": "new@example.org", "email_password": "wrong"}
        wrong = await her.post("/account/email", data=form)
        assert wrong.status_code == 400
        assert 'id="email_password-error"' in wrong.text
        form = {"new_email": "new", "email_password": PASSWORD}
        assert (await her.post("/account/email", data=form)).status_code == 422
        form = {"current_password": PASSWORD, "password": "short"}
        assert (await her.post("/account/password", data=form)).status_code == 422
        assert (await elsewhere.get("/account")).url.path == "/account"
        form = {"current_password": PASSWORD, "password": NEW_PASSWORD}
        changed = await her.post("/account/password", data=form)

        assert "Your password is changed." in text_of(changed)
        assert "Elsewhere" not in text_of(changed)
        assert (await elsewhere.get("/account")).url.path == "/sign-in"
        again = {"email": HER, "password": NEW_PASSWORD}
        assert (await elsewhere.post("/sign-in", data=again)).url.path == "/feed"
        await her.post("/account/sign-out-others")
        assert (await elsewhere.get("/feed")).url.path == "/sign-in"
        assert (await her.get("/feed")).url.path == "/feed"
