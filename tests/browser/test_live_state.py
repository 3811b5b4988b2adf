"""What the feed says of its connection, over a cable that is cut."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, Route, expect

from tests.browser.test_likes import LATER
from tests.browser.test_look_alikes import add_look_alikes, with_photo
from tests.support.browser import Phones, in_both_browsers, longer_timers
from tests.support.wire import Wire, wire_to

_NOTICED_MS = 5_010
"""Five seconds, and the timer that is set only then."""
_TRIED_MS = 4_000
"""The longest that a page waits before it connects again."""
_STREAM = "**/feed/stream*"
_TELLING = """
    const Plain = EventSource;
    EventSource = class extends Plain {
        constructor(...given) {
            super(...given);
            this.addEventListener("ping", () => console.debug("ping"));
        }
    };
"""

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
    expect(page.locator("#live")).to_have_text(text)


@in_both_browsers
def test_page_notices_a_dead_connection_keeps_what_is_done_and_catches_up_without_a_double(
    phones: Phones, wire: Wire, tmp_path: Path
) -> None:
    her = with_photo(phones, tmp_path)
    her.goto(f"{wire.url}/feed")
    _state(her, "Live")
    her.evaluate("window.sameDocument = true")
    cards = her.locator("#cards li")
    add_look_alikes(phones, ["Minh"])
    expect(cards).to_have_count(1)

    wire.is_cut = True
    _state(her, re.compile(r"Offline since \d"))
    add_look_alikes(phones, ["Nam"])
    like = her.get_by_role("button", name="Like Minh")
    like.click()
    expect(her.locator(".toast")).to_contain_text("when you're online")
    her.locator(".toast").get_by_role("button", name="Undo").click()
    expect(like).to_have_attribute("aria-pressed", "false")
    like.click()
    assert phones.value(_LIKES, phones.email("Linh")) == 0
    expect(cards).to_have_count(1)
    with her.expect_response(re.compile(r"/like\?")) as sent:
        wire.is_cut = False
        wire.disconnect_all()
    assert sent.value.status == 200
    assert phones.value(_LIKES, phones.email("Linh")) == 1
    _state(her, "Live")
    expect(cards).to_have_count(2)

    with her.expect_request("**/feed/stream*"):
        wire.disconnect_all()
    _state(her, "Live")
    expect(cards).to_have_count(2)
    assert her.evaluate("window.sameDocument")


def test_quick_acts_keep_their_order_and_one_that_another_tab_has_sent_is_undone(
    phones: Phones, tmp_path: Path
) -> None:
    her = with_photo(phones, tmp_path)
    # Whoever connects again sends what waits, and says anew whether it is live.
    her.add_init_script(longer_timers(4_000))
    her.reload()
    add_look_alikes(phones, ["Minh"])
    _state(her, "Live")
    heart = her.get_by_role("button", name="Like Minh")
    held: list[Route] = []

    def hold(route: Route) -> None:
        held.append(route)

    liking = re.compile(r"/like\?")
    her.route(liking, hold)
    with her.expect_request(liking):
        heart.click()
    her.evaluate(LATER)
    heart.click()
    with her.expect_response(re.compile(r"/unlike\?")) as sent:
        held[0].continue_()
    assert sent.value.status == 200
    assert phones.value(_LIKES, phones.email("Linh")) == 0
    her.unroute(liking)
    expect(heart).to_have_attribute("aria-pressed", "false")

    her.evaluate(LATER)
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


def test_page_that_hears_nothing_says_so_and_connects_again(phones: Phones, wire: Wire) -> None:
    page = phones.join("Linh", "Female")
    # Time stands still but where the test lets it pass, however busy the machine is.
    page.clock.install(time=0)
    page.clock.pause_at(1)
    page.add_init_script(_TELLING)
    # What is on its way at the cut would be heard while time passes; the next ping is seconds away.
    with page.expect_console_message(lambda message: message.text == "ping"):
        page.goto(f"{wire.url}/feed")
        _state(page, "Live")

    wire.is_cut = True
    page.clock.run_for(_NOTICED_MS)
    _state(page, re.compile(r"Offline since \d"))

    wire.is_cut = False
    page.route(_STREAM, lambda _: None)
    with page.expect_request(_STREAM):
        page.goto(f"{wire.url}/photos")
    with page.expect_request(_STREAM):
        page.clock.run_for(_NOTICED_MS + _TRIED_MS)
    page.unroute_all(behavior="ignoreErrors")


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
