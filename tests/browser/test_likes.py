"""Liking each other in two windows, and undoing what was done, without leaving the page."""

from __future__ import annotations

import re
from pathlib import Path

from PIL import ImageOps
from playwright.sync_api import expect

from tests.browser.test_look_alikes import add_look_alikes, with_photo
from tests.support.browser import Phones, longer_timers, upload, write_photo
from tests.support.photos import astronaut

LATER = """() => {
    const now = performance.now.bind(performance);
    performance.now = () => now() + 1000;
}"""
"""Has a page take its next tap for no part of a double tap."""


def test_both_are_told_see_what_each_shares_and_undo_what_they_do(
    phones: Phones, tmp_path: Path
) -> None:
    her, him = phones.join("Linh", "Female"), phones.join("Minh", "Male")
    him.goto(f"{phones.url}/profile/share")
    him.get_by_label("A sentence").fill("The one with the bike")
    him.get_by_role("button", name="Save").click()
    expect(him.get_by_role("status").filter(has_text="Saved.")).to_be_visible()
    him.goto(f"{phones.url}/feed")
    upload(her, write_photo(tmp_path, "her", astronaut()))
    upload(him, write_photo(tmp_path, "him", ImageOps.mirror(astronaut())))
    expect(him.locator("#cards li")).to_contain_text("Linh")
    for page in (her, him):
        page.evaluate("window.sameDocument = true")

    her.get_by_role("button", name="Like Minh").click()
    expect(her.get_by_role("button", name="Like Minh", pressed=True)).to_be_visible()
    expect(her.locator(".toast")).to_contain_text("They'll only know if they like you, too.")
    expect(him.get_by_role("button", name="Like Linh", pressed=False)).to_be_visible()
    him.get_by_role("button", name="Like Linh").click()
    for page in (her, him):
        expect(page.locator("#cards .shared")).to_contain_text("You like each other!")
    expect(her.locator("#cards .shared")).to_contain_text("The one with the bike")
    expect(her.locator("#announcer")).to_contain_text("You like each other! Minh")
    her.evaluate(LATER)
    her.get_by_role("button", name="Like Minh").click()
    for page in (her, him):
        expect(page.locator("#cards")).not_to_contain_text("You like each other!")
    expect(her.locator("#cards")).not_to_contain_text("The one with the bike")

    her.locator("#cards summary").click()
    her.get_by_role("button", name="Not a look-alike").click()
    # Until then Undo is that of the act before.
    expect(her.locator(".toast")).to_contain_text("Not a look-alike.")
    for page in (her, him):
        expect(page.locator("#cards li")).to_have_count(0)
    her.get_by_role("button", name="Undo").click()
    for page in (her, him):
        expect(page.locator("#cards li:visible")).to_have_count(1)

    her.locator("#cards summary").click()
    her.get_by_role("link", name="Report Minh").click()
    her.get_by_role("dialog").get_by_label("A fake account").check()
    her.get_by_role("dialog").get_by_role("button", name="Report").click()
    expect(her.locator(".toast")).to_contain_text("Reported.")
    for page in (her, him):
        expect(page.locator("#cards li")).to_have_count(0)
    her.get_by_role("button", name="Undo").click()
    for page in (her, him):
        expect(page.locator("#cards li:visible")).to_have_count(1)
        assert page.evaluate("window.sameDocument")
    her.locator("#cards summary").click()
    her.get_by_role("button", name="Block Minh").click()
    expect(her.locator(".toast")).to_contain_text("Blocked.")
    her.keyboard.press("Escape")
    expect(her.locator("#toasts .toast")).to_have_count(0)


def test_two_quick_taps_or_a_key_held_down_are_one_act(phones: Phones, tmp_path: Path) -> None:
    page = with_photo(phones, tmp_path)
    add_look_alikes(phones, ["Minh"])
    # However long the machine takes, no time passes between two taps.
    page.clock.install(time=0)
    page.clock.pause_at(1)
    page.goto(f"{phones.url}/feed")
    expect(page.locator("#live")).to_have_text("Live")
    heart = page.get_by_role("button", name="Like Minh")
    sent: list[str] = []
    page.on("request", lambda request: sent.extend(re.findall(r"/(like|unlike)\?", request.url)))

    with page.expect_response(re.compile(r"/like\?")):
        heart.dblclick()
    expect(heart).to_have_attribute("aria-pressed", "true")
    expect(page.locator(".toast")).to_contain_text("Liked.")
    page.clock.run_for(1000)
    with page.expect_response(re.compile(r"/unlike\?")):
        for _ in range(5):
            page.keyboard.down("Enter")
        page.keyboard.up("Enter")
    expect(heart).to_have_attribute("aria-pressed", "false")
    expect(page.locator(".toast")).to_contain_text("Like taken back.")

    # Undo is another button, so it counts however quick it is, and so does a tap after it.
    with page.expect_response(re.compile(r"/like\?")):
        page.get_by_role("button", name="Undo").click()
    with page.expect_response(re.compile(r"/unlike\?")):
        heart.click()
    expect(heart).to_have_attribute("aria-pressed", "false")
    assert sent == ["like", "unlike", "like", "unlike"]


_COME_ANEW = """async (card) => {
    const { putCard } = await import(document.querySelector("script[src$='/cards.js']").src);
    const template = document.createElement("template");
    template.innerHTML = card.outerHTML;
    template.content.querySelector("details").open = false;
    putCard(template.content.firstElementChild, card.id.replace("card-", ""));
}"""
"""What the stream does with a card that is there."""


def test_menu_stays_open_when_its_card_comes_anew(phones: Phones, tmp_path: Path) -> None:
    page = with_photo(phones, tmp_path)
    add_look_alikes(phones, ["Minh"])
    page.locator("#cards summary").click()
    block = page.get_by_role("button", name="Block Minh")
    block.focus()

    page.locator("#cards li").evaluate(_COME_ANEW)

    expect(page.locator("#cards summary")).to_be_focused()
    expect(block).to_be_visible()


def test_click_is_not_lost_when_a_card_arrives_between_press_and_release(
    phones: Phones, tmp_path: Path
) -> None:
    page = with_photo(phones, tmp_path)
    # So high that nothing is scrolled, for where it is the browser keeps what is in view in place.
    page.set_viewport_size({"width": 390, "height": 2000})
    # He was seen, so that the next number is of who comes now.
    with page.expect_response("**/feed/seen"):
        add_look_alikes(phones, ["Minh"])
    expect(page).to_have_title(re.compile("^Your"))
    like = page.get_by_role("button", name="Like Minh")
    like.hover()

    # A press is over after five seconds, whether or not the page was told of its end.
    page.evaluate(longer_timers(5_000))
    page.mouse.down()
    add_look_alikes(phones, ["Nam"])
    expect(page).to_have_title(re.compile(r"^\(1\)"))
    page.mouse.up()

    expect(like).to_have_attribute("aria-pressed", "true")
    expect(page.locator("#cards li")).to_have_count(2)
