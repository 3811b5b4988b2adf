"""What the feed says of its connection, over a cable that is cut."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import ImageOps
from playwright.sync_api import Page, Route, expect

from tests.support.browser import Phones, in_both_browsers, upload, write_photo
from tests.support.photos import astronaut
from tests.support.wire import Wire, wire_to

_NOTICED_MS = 6_000
"""Five seconds, and what the browser of a busy machine takes to draw."""

_LIKES = """
    select count(*) from automatch.likes as l join public.profiles as p on p.id = l.profile_id
    where p.email = %s
"""


@pytest.fixture
def wire(phones: Phones) -> Iterator[Wire]:
    """Give the cable of one phone; the others of the test are connected as always."""
    with wire_to(phones.url) as wire:
        yield wire


def _state(page: Page, text: str | re.Pattern[str]) -> None:
    expect(page.locator("#live")).to_have_text(text, timeout=_NOTICED_MS)


@in_both_browsers
def test_page_notices_a_dead_connection_and_catches_up_without_a_double(
    phones: Phones, wire: Wire, tmp_path: Path
) -> None:
    her = phones.join("Linh", "Female")
    her.goto(f"{wire.url}/feed")
    upload(her, write_photo(tmp_path, "her", astronaut()))
    expect(her.locator("#jobs")).to_contain_text("No look-alikes yet")
    _state(her, "Live")
    her.evaluate("window.sameDocument = true")

    wire.is_cut = True
    _state(her, re.compile(r"Offline since \d"))
    him = phones.join("Minh", "Male")
    upload(him, write_photo(tmp_path, "him", ImageOps.mirror(astronaut())))
    expect(him.locator("#cards li")).to_have_count(1)
    expect(her.locator("#cards li")).to_have_count(0)
    wire.is_cut = False
    wire.disconnect_all()
    _state(her, "Live")
    expect(her.locator("#cards li")).to_have_count(1)

    with her.expect_request("**/feed/stream*"):
        wire.disconnect_all()
    _state(her, "Live")
    expect(her.locator("#cards li")).to_have_count(1)
    assert her.evaluate("window.sameDocument")


@in_both_browsers
def test_act_without_a_connection_is_sent_later_or_taken_back(
    phones: Phones, wire: Wire, tmp_path: Path
) -> None:
    her, him = phones.join("Linh", "Female"), phones.join("Minh", "Male")
    upload(her, write_photo(tmp_path, "her", astronaut()))
    upload(him, write_photo(tmp_path, "him", ImageOps.mirror(astronaut())))
    expect(her.locator("#cards li")).to_have_count(1)
    her.goto(f"{wire.url}/feed")
    _state(her, "Live")

    wire.is_cut = True
    _state(her, re.compile(r"Offline since \d"))
    like = her.get_by_role("button", name="Like Minh")
    like.click()
    expect(her.locator(".toast")).to_contain_text("when you're online")
    her.locator(".toast").get_by_role("button", name="Undo").click()
    expect(like).to_have_attribute("aria-pressed", "false")
    like.click()
    assert phones.value(_LIKES, phones.email("Linh")) == 0
    wire.is_cut = False
    with her.expect_response(re.compile(r"/like\?")) as sent:
        wire.disconnect_all()

    assert sent.value.status == 200
    assert phones.value(_LIKES, phones.email("Linh")) == 1


def test_quick_acts_keep_their_order_and_one_that_another_tab_has_sent_is_undone(
    phones: Phones, tmp_path: Path
) -> None:
    her, him = phones.join("Linh", "Female"), phones.join("Minh", "Male")
    upload(her, write_photo(tmp_path, "her", astronaut()))
    upload(him, write_photo(tmp_path, "him", ImageOps.mirror(astronaut())))
    _state(her, "Live")
    heart = her.get_by_role("button", name="Like Minh")
    held: list[Route] = []

    def hold(route: Route) -> None:
        held.append(route)

    liking = re.compile(r"/like\?")
    her.route(liking, hold)
    with her.expect_request(liking):
        heart.click()
    heart.click()
    with her.expect_response(re.compile(r"/unlike\?")) as sent:
        held[0].continue_()
    assert sent.value.status == 200
    assert phones.value(_LIKES, phones.email("Linh")) == 0
    her.unroute(liking)
    expect(heart).to_have_attribute("aria-pressed", "false")

    her.evaluate("document.getElementById('live').dataset.state = 'offline'")
    heart.click()
    expect(her.locator(".toast")).to_contain_text("when you're online")
    other = her.context.new_page()
    with other.expect_response(liking):
        other.goto(f"{phones.url}/feed")
    her.evaluate("document.getElementById('live').dataset.state = 'live'")
    with her.expect_response(re.compile(r"/unlike\?")) as undone:
        her.locator(".toast").get_by_role("button", name="Undo").click()

    assert undone.value.status == 200
    assert phones.value(_LIKES, phones.email("Linh")) == 0


def test_page_of_photos_connects_again_when_it_hears_nothing(phones: Phones, wire: Wire) -> None:
    page = phones.join("Linh", "Female")
    with page.expect_request("**/feed/stream*"):
        page.goto(f"{wire.url}/photos")

    with page.expect_request("**/feed/stream*", timeout=3 * _NOTICED_MS):
        wire.is_cut = True


def test_page_that_was_hidden_is_live_again_at_once(phones: Phones) -> None:
    page = phones.join("Linh", "Female")
    _state(page, "Live")
    hide = """hidden => {
        Object.defineProperty(document, "hidden", { value: hidden, configurable: true });
        document.dispatchEvent(new Event("visibilitychange"));
    }"""

    with page.expect_request("**/feed/stream*"):
        page.evaluate(hide, True)
        page.evaluate(hide, False)

    _state(page, "Live")
