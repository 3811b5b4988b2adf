"""The frame of the console: who gets in, what it offers them, and coming back to an act."""

from __future__ import annotations

import re
from uuid import UUID

import pytest

from automatch.model.operators import OperatorRole
from automatch.web.console.frame import own_address
from tests.support.console import ConsoleSite, text_of
from tests.support.system import PASSWORD

pytestmark = pytest.mark.anyio


async def test_who_is_not_signed_in_comes_back_to_the_page_that_was_asked_for(
    console: ConsoleSite,
) -> None:
    person = await console.system.sign_up()
    console.conn.execute("insert into automatch.operators values (%s, 'viewer')", [person.id])
    visitor = console.visitor()

    asked = await visitor.get("/admin/people?q=linh")
    form = await visitor.get(asked.headers["location"])
    to, _language_comes_back_to = re.findall(r'name="to" value="([^"]+)"', form.text)
    signed_in = await visitor.post(
        "/sign-in", data={"email": person.email, "password": PASSWORD, "to": to}
    )

    assert signed_in.headers["location"] == "/admin/people?q=linh"
    assert (await visitor.get(to)).status_code == 200
    part = await console.visitor().get("/admin/people", headers={"hx-request": "true"})
    assert part.status_code == 401


async def test_who_has_no_role_sees_the_page_of_an_unknown_address(console: ConsoleSite) -> None:
    student = console.clerk(None)

    paths = ("/admin/people?q=linh", "/nowhere")
    answers = [await student.get(path) for path in paths]

    assert [answer.status_code for answer in answers] == [404, 404]
    assert answers[0].text.replace("/admin/people", "/nowhere") == answers[1].text
    assert (await student.post("/admin/password", password="x")).status_code == 404


@pytest.mark.parametrize("role", [*OperatorRole, None])
@pytest.mark.parametrize("is_student", [True, False])
async def test_own_pages_lead_operators_to_the_console_and_nobody_else(
    console: ConsoleSite, role: OperatorRole | None, is_student: bool
) -> None:
    clerk = console.clerk(role)
    if is_student:
        console.conn.execute(
            "update public.profiles set school = 'UIT', gender = 'female',"
            " birth_date = '2000-02-29' where id = %s",
            [clerk.id],
        )

    for path in ("/profile" if is_student else "/onboarding", "/account"):
        page = await clerk.get(path)
        assert page.status_code == 200
        assert ('href="/admin"' in page.text) == (role is not None)
        assert ("Operator console" in text_of(page)) == (role is not None)


async def test_whoever_signed_in_as_an_operator_is_not_led_to_the_console(
    console: ConsoleSite,
) -> None:
    clerk = console.clerk(OperatorRole.OWNER)
    console.conn.execute(
        "update auth.sessions set by_operator = true where user_id = %s", [clerk.id]
    )

    page = await clerk.get("/account")

    assert (page.status_code, "/admin" in page.text) == (200, False)


async def test_navigation_has_what_the_role_may_see(console: ConsoleSite) -> None:
    page = await console.clerk(OperatorRole.VIEWER).get("/admin/people")

    assert 'href="/admin/people" aria-current="page"' in page.text
    assert "You're a viewer." in text_of(page)
    assert page.headers["cache-control"] == "no-store"
    assert page.headers["referrer-policy"] == "same-origin"


async def test_password_is_asked_for_and_leads_back(console: ConsoleSite) -> None:
    person = await console.system.sign_up()
    console.conn.execute("insert into automatch.operators values (%s, 'viewer')", [person.id])
    visitor = console.visitor()
    visitor.cookies.set("automatch_access", person.token)
    sent = {"to": "/admin/people?q=a", "password": "not this one"}

    wrong = await visitor.post("/admin/password", data=sent)
    right = await visitor.post("/admin/password", data=sent | {"password": PASSWORD})

    assert (wrong.status_code, "That isn't your password." in text_of(wrong)) == (400, True)
    assert right.headers["location"] == "/admin/people?q=a"
    [(entered,)] = console.conn.execute(
        "select password_entered_at is not null from auth.sessions where user_id = %s", [person.id]
    ).fetchall()
    assert entered


async def test_form_of_another_site_does_nothing(console: ConsoleSite) -> None:
    clerk, she = console.clerk(OperatorRole.OWNER), console.person()

    answer = await clerk.client.post(
        f"/admin/people/{she}/freeze",
        data={"reason": "case 12"},
        headers={"origin": "https://evil.example"},
    )

    assert answer.status_code == 403
    assert console.audited(clerk) == []


async def test_what_was_refused_leads_back_to_the_page_of_the_form(console: ConsoleSite) -> None:
    clerk, she = console.clerk(OperatorRole.MODERATOR), console.person()
    page = f"/admin/people/{she}"

    for referer, back in [
        (f"{console.system.url}{page}?done=unfrozen", f"{page}?done=unfrozen"),
        ("https://evil.example/people", "/admin"),
    ]:
        answer = await clerk.client.post(f"{page}/freeze", headers={"referer": referer})
        assert (answer.status_code, f'href="{back}">Go back' in answer.text) == (422, True)


async def test_only_a_look_at_something_unknown_is_a_page_that_was_not_found(
    console: ConsoleSite,
) -> None:
    clerk, nothing = console.clerk(OperatorRole.MODERATOR), f"/admin/cases/{UUID(int=9)}"

    look, act = await clerk.get(nothing), await clerk.post(f"{nothing}/decide", decision="close")

    assert (look.status_code, act.status_code) == (404, 404)
    assert "Page not found" in text_of(look)
    assert "That wasn't done" in text_of(act)
    assert "Page not found" not in text_of(act)


@pytest.mark.parametrize(
    "address",
    [
        *("", "/feed", "//evil.example", "/adminx", "/admin/\\evil", "https://evil.example"),
        *("/admin/é", "/admin/../feed", "/admin/./people", "/admin/people/%2E%2e/..?q=a"),
    ],
)
def test_nobody_is_sent_elsewhere_by_an_address_in_a_link(address: str) -> None:
    assert own_address(address) == "/admin"
