"""Who runs this and what happens with the data, on the pages."""

from __future__ import annotations

import re

import httpx2
import psycopg
import pytest
from jinja2 import Environment

from automatch.model.notices import SiteOperator
from automatch.web.accounts.account_views import SignInPage, SignUpPage
from automatch.web.templating import build_templates, render_page
from tests.support.pages import HOSTILE
from tests.support.system import System
from tests.web.test_pages import browser, onboard, sign_up, text_of

UNION = SiteOperator("UIT Union", "privacy@uit.example", "https://uit.example/contact")


@pytest.fixture(scope="module")
def templates() -> Environment:
    return build_templates()


def test_every_page_says_who_runs_this_and_how_to_reach_them(templates: Environment) -> None:
    html = render_page(templates, SignInPage(), UNION)

    for shown in (
        "Run by UIT Union",
        'href="mailto:privacy@uit.example"',
        'href="https://uit.example/contact"',
        'href="/privacy"',
    ):
        assert shown in html


@pytest.mark.parametrize(
    ("operator", "is_test"), [(UNION, False), (SiteOperator("UIT Union"), True), (None, False)]
)
def test_sign_up_says_where_nobody_can_be_reached(
    templates: Environment, operator: SiteOperator | None, is_test: bool
) -> None:
    html = render_page(templates, SignUpPage(), operator)

    assert ("This is a test site" in html) is is_test
    assert "What happens with your data" in html


def test_name_of_the_operator_is_escaped(templates: Environment) -> None:
    assert HOSTILE not in render_page(templates, SignUpPage(), SiteOperator(HOSTILE))


async def publish(system: System, kind: str, language: str, text: str, asks: bool = False) -> None:
    async with await psycopg.AsyncConnection.connect(system.database.owner) as conn:
        await conn.execute(
            "select public.publish_notice(%s, %s, %s, %s)", [kind, language, text, asks]
        )


@pytest.mark.anyio
async def test_notice_is_shown_in_the_readers_language_with_links_to_the_others(
    server: System,
) -> None:
    async with browser(server) as client:
        ours = await client.get("/privacy")
        await publish(server, "privacy", "en", "We keep\n\nyour photo.")
        await publish(server, "privacy", "vi", "Chúng tôi giữ ảnh.")
        theirs = await client.get("/privacy", headers={"accept-language": "vi-VN, en;q=0.5"})
        other = await client.get("/privacy?language=en", headers={"accept-language": "vi"})

    assert "face template, which is a list of numbers" in text_of(ours)
    assert "test site" in text_of(ours)
    assert "Chúng tôi giữ ảnh." in text_of(theirs)
    assert 'href="/privacy?language=en"' in theirs.text
    assert '<p class="long-text">your photo.</p>' in other.text
    assert "không bao giờ là bằng chứng ai đó là ai" in text_of(other)
    assert "It doesn't mean that they show the same person" in text_of(ours)
    assert "Tiếng Việt" in other.text


async def answer_consent(client: httpx2.AsyncClient) -> httpx2.Response:
    asked = await client.get("/feed")
    assert asked.url.path == "/profile/consent"
    assert "Đánh dấu vào ô" in text_of(await client.post("/profile/consent"))
    [version] = re.findall(r'name="consent" value="([^"]+)"', asked.text)
    return await client.post("/profile/consent", data={"consent": version})


@pytest.mark.anyio
async def test_new_consent_text_is_asked_for_at_the_next_visit(server: System) -> None:
    async with browser(server) as client:
        client.headers["accept-language"] = "vi"
        await sign_up(client)
        assert (await onboard(client)).url.path == "/feed"
        await publish(server, "consent", "en", "The newer text.", asks=True)
        await publish(server, "consent", "vi", "Văn bản mới.")
        page = await client.get("/profile/consent")
        assert "Nội dung đồng ý" in text_of(page)
        assert "Văn bản mới." in text_of(page)
        assert "/consent/withdraw" in page.text
        refused = await client.post("/upload", files={"file": ("photo.jpg", b"x")})
        assert refused.status_code == 409

        assert (await answer_consent(client)).url.path == "/feed"
        assert "Văn bản mới." in text_of(await client.get("/profile/consent"))
