"""The choice of a language: by the browser, by this browser's cookie, by the profile."""

from __future__ import annotations

import pytest

from tests.support.system import PASSWORD, System
from tests.web.test_pages import browser, onboard, sign_up, text_of

pytestmark = pytest.mark.anyio

VIETNAMESE = {"accept-language": "vi-VN, en;q=0.5"}


async def test_a_page_is_in_the_language_of_the_browser_until_somebody_chooses(
    server: System,
) -> None:
    async with browser(server) as client:
        theirs = await client.get("/sign-in", headers=VIETNAMESE)
        chosen = await client.post("/language", data={"language": "en", "to": "/sign-in?x=1"})
        kept = await client.get("/sign-in", headers=VIETNAMESE)
        await client.post("/language", data={"language": ""})
        again = await client.get("/sign-in", headers=VIETNAMESE)

    assert '<html lang="vi">' in theirs.text
    assert "Đăng nhập" in text_of(theirs)
    assert str(chosen.url).endswith("/sign-in?x=1")
    assert '<html lang="en">' in kept.text
    assert '<html lang="vi">' in again.text


async def test_what_somebody_chose_holds_where_they_sign_in_next(server: System) -> None:
    async with browser(server) as phone:
        await sign_up(phone, "linh@example.org")
        await onboard(phone)
        await phone.post("/language", data={"language": "vi"})
        async with browser(server) as laptop:
            await laptop.post("/sign-in", data={"email": "linh@example.org", "password": PASSWORD})
            page = await laptop.get("/account")

            assert '<html lang="vi">' in page.text
            assert 'value="vi" checked' in (await laptop.get("/profile/language")).text


async def test_only_a_language_that_there_is_and_an_address_of_ours_are_taken(
    server: System,
) -> None:
    unknown = await server.client.post("/language", data={"language": "xx"})
    assert unknown.status_code == 422
    for address in ("https://evil.example", "//evil.example", "/\\evil.example", "", "/a\n"):
        answer = await server.client.post("/language", data={"language": "vi", "to": address})
        assert answer.headers["location"] == "/"


async def test_an_error_is_in_the_language_of_the_page_and_the_api_stays_english(
    server: System,
) -> None:
    page = await server.client.get("/nothing", headers={**VIETNAMESE, "accept": "text/html"})
    told = await server.client.post(
        "/sign-in",
        data={"email": "a@x.org", "password": "x"},
        headers={**VIETNAMESE, "accept": "text/html"},
    )
    api = await server.client.get("/api/nothing", headers=VIETNAMESE)

    assert "Không tìm thấy trang" in text_of(page)
    assert "Email hoặc mật khẩu chưa đúng." in text_of(told)
    assert api.json()["error"]["message"].isascii()
