"""The app in a real browser: it can be installed, says when it is offline, and forgets photos."""

from __future__ import annotations

from pathlib import Path

from playwright.sync_api import expect

from tests.browser.test_look_alikes import with_photo
from tests.support.browser import Phones, in_whole_chromium

_IS_READY = "navigator.serviceWorker.ready.then(() => null)"
_STYLES = "[...document.styleSheets].map((sheet) => sheet.cssRules.length > 0)"
_IS_KEPT = """async (address) => {
    const options = { cache: "only-if-cached", mode: "same-origin" };
    const answer = await fetch(address, options).catch(() => null);
    return answer?.status === 200;
}"""
_CACHED_PATHS = """async () => {
    const caches_ = await Promise.all((await caches.keys()).map((name) => caches.open(name)));
    const requests = (await Promise.all(caches_.map((cache) => cache.keys()))).flat();
    return requests.map(({ url }) => new URL(url).pathname.split("/")[1]);
}"""


@in_whole_chromium
def test_app_can_be_installed_and_comes_back_when_it_was_offline(phones: Phones) -> None:
    page = phones.join("Linh", "Female")
    page.evaluate(_IS_READY)
    browser = page.context.new_cdp_session(page)
    found = browser.send("Page.getInstallabilityErrors")["installabilityErrors"]
    # Nothing but the window of this test is in the way.
    assert [each["errorId"] for each in found] == ["in-incognito"]

    page.context.set_offline(True)
    page.goto(f"{phones.url}/profile")
    expect(page.get_by_role("heading", level=1)).to_have_text("You're offline")
    assert set(page.evaluate(_STYLES)) == {True}
    page.context.set_offline(False)

    expect(page.get_by_role("heading", level=1)).to_have_text("Your profile")


def test_photo_leaves_the_browser_with_who_signs_out(phones: Phones, tmp_path: Path) -> None:
    page = with_photo(phones, tmp_path)
    page.evaluate(_IS_READY)
    shown = page.locator("#jobs img")
    shown.evaluate("image => image.decode()")
    photo = shown.get_attribute("src")
    assert page.evaluate(_IS_KEPT, photo)
    assert set(page.evaluate(_CACHED_PATHS)) == {"static", "offline"}

    page.get_by_role("button", name="Sign out").click()

    expect(page).to_have_url(f"{phones.url}/sign-in")
    assert not page.evaluate(_IS_KEPT, photo)
