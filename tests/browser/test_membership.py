"""A newcomer at a school that asks for a proof: an invitation, and a request."""

from __future__ import annotations

import re

from playwright.sync_api import Page, expect

from tests.support.browser import Phones

CODE = "K7QM-2X9D-4HTR"


def close_school(phones: Phones) -> None:
    phones.execute("select public.set_school_open(%s, false)", phones.school)


def sign_up(phones: Phones, page: Page, name: str) -> None:
    page.get_by_label(re.compile("e-?mail", re.IGNORECASE)).fill(phones.email(name))
    page.get_by_label(re.compile("password", re.IGNORECASE)).fill("correct horse battery")
    page.get_by_role("button", name=re.compile("create", re.IGNORECASE)).click()
    page.get_by_label("Name", exact=True).fill(name)
    page.get_by_label("Female", exact=True).check()
    page.get_by_label("Birth date").fill("2000-02-29")
    page.get_by_role("checkbox").check()


def test_link_of_an_invitation_leads_to_the_feed(phones: Phones) -> None:
    close_school(phones)
    phones.execute("select public.invite_to_school(%s, %s, 1, '1 day')", phones.school, CODE)
    page = phones.open()
    page.goto(f"{phones.url}/join/{CODE.lower()}")
    expect(page.get_by_role("heading")).to_have_text(f"You're invited to {phones.school}")
    page.get_by_role("link", name="Create an account").click()
    sign_up(phones, page, "Linh")
    expect(page.get_by_role("combobox", name="School")).to_have_value(phones.school)
    page.get_by_role("button", name="Continue").click()

    expect(page).to_have_url(f"{phones.url}/feed")
    expect(page.get_by_text("You don't see anyone yet")).to_have_count(0)
    late = phones.open()
    late.goto(f"{phones.url}/join/{CODE}")
    expect(late.get_by_text("doesn't work any more")).to_be_visible()
    expect(late.get_by_text("404")).to_have_count(0)


def test_who_asks_waits_and_reads_the_answer(phones: Phones) -> None:
    close_school(phones)
    page = phones.open()
    page.goto(f"{phones.url}/sign-up")
    sign_up(phones, page, "Mai")
    page.get_by_role("combobox", name="School").select_option(phones.school)
    page.get_by_role("button", name="Continue").click()
    waiting = page.get_by_role("region", name=f"Waiting for proof: {phones.school}")
    waiting.get_by_label("With an invitation code").fill("AAAA-BBBB-CCCC")
    waiting.get_by_role("button", name="Use this code").click()
    expect(waiting.get_by_text("This code doesn't work for your school.")).to_be_visible()
    waiting.get_by_label("Or ask to join").fill("I am in class K18.")
    waiting.get_by_role("button", name="Ask").click()
    expect(waiting.get_by_text("You asked to join on")).to_be_visible()

    answer = (
        "select public.decide_membership((select id from public.profiles where email = %s), %s)"
    )
    phones.execute(answer, phones.email("Mai"), "Which K18?")
    page.reload()
    expect(waiting.get_by_text("Your request was turned down: Which K18?")).to_be_visible()
    waiting.get_by_label("Or ask to join").fill("K18 of computer science.")
    waiting.get_by_role("button", name="Ask").click()
    expect(waiting.get_by_text("You asked to join on")).to_be_visible()
    phones.execute(answer, phones.email("Mai"), None)
    page.goto(f"{phones.url}/profile/school")

    expect(waiting).to_have_count(0)
    expect(page.get_by_text(f"Leave {phones.school}").first).to_be_visible()
