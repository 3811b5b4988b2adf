"""Photos from a phone: cropped, large ones, several, over bad connections, across sessions."""

from __future__ import annotations

import base64
import io
from datetime import UTC, datetime, timedelta
from typing import Any

from PIL import Image
from playwright.sync_api import Page, Route, expect

from tests.support.browser import Phones, in_both_browsers
from tests.support.photos import astronaut, encode, hopper
from tests.support.waiting import wait_until

_TYPES = [
    "image/jpg",
    "image/pjpeg",
    "image/x-png",
    "application/octet-stream",
    "binary/octet-stream",
    "image/heic-sequence",
    "",
]
"""What browsers and phones declare for photos."""
_LOOKED_MS = 3_500
"""By then a page has looked whether the live feed shows its photo; it takes longer to miss one."""
_WATCH = """() => {
    window.said = [];
    window.sent = [];
    if (window.isWatched) return;
    window.isWatched = true;
    for (const id of ["progress-text", "sent"]) {
        const part = document.getElementById(id);
        const note = () => window.said.push(part.textContent);
        new MutationObserver(note).observe(part, { childList: true });
    }
    const send = XMLHttpRequest.prototype.send;
    XMLHttpRequest.prototype.send = function (form) {
        const reader = new FileReader();
        reader.onload = () => window.sent.push(reader.result);
        reader.readAsDataURL(form.get("file"));
        send.call(this, form);
    };
}"""
"""Keeps what is sent and what is said, for a moment only, while that goes on."""
_DROP = """([bytes, last]) => {
    const dataTransfer = new DataTransfer();
    dataTransfer.items.add(new File([new Uint8Array(bytes)], "photo"));
    const options = { dataTransfer, bubbles: true, cancelable: true };
    document.querySelector("footer").dispatchEvent(new DragEvent(last, options));
}"""


def a_file(data: bytes, mime: str = "image/jpeg") -> Any:
    return {"name": "photo", "mimeType": mime, "buffer": data}


def choose(page: Page, *files: Any) -> None:
    page.locator("#choose-photo").set_input_files(list(files))
    expect(page.locator("#sheet-edit")).to_be_visible()


def send(page: Page) -> None:
    page.get_by_role("button", name="Find my look-alikes").click()


def expect_photos(page: Page, count: int) -> None:
    expect(page.locator("#jobs > li")).to_have_count(count)


def sign_in(page: Page, phones: Phones, email: str) -> None:
    page.goto(f"{phones.url}/sign-in")
    page.get_by_label("E-mail").fill(email)
    page.get_by_label("Password").fill("correct horse battery")
    page.get_by_role("button", name="Sign in").click()
    expect(page).to_have_url(f"{phones.url}/feed")
    page.wait_for_load_state()


def kept(page: Page) -> int:
    """Return how many photos the browser keeps."""
    return int(
        page.evaluate(
            """() => new Promise((resolve) => {
                const opening = indexedDB.open("automatch", 1);
                // The page may not have made it yet, and would find one without a store.
                opening.onupgradeneeded = () => opening.transaction.abort();
                opening.onerror = () => resolve(0);
                opening.onsuccess = ({ target }) => {
                    const photos = target.result.transaction("photos").objectStore("photos");
                    photos.count().onsuccess = (event) => {
                        target.result.close();
                        resolve(event.target.result);
                    };
                };
            })"""
        )
    )


def expect_none_kept(page: Page) -> None:
    """Wait until the browser keeps no photo: a page that was opened looks for them on its own."""
    wait_until(lambda: kept(page) == 0, "nothing is kept")


def sent_photos(page: Page, count: int) -> list[bytes]:
    """Return what `_WATCH` saw sent."""
    page.wait_for_function("count => window.sent.length === count", arg=count)
    sent = page.evaluate("window.sent")
    return [base64.b64decode(address.partition(",")[2]) for address in sent]


def size_of(photo: bytes) -> tuple[int, int]:
    with Image.open(io.BytesIO(photo)) as image:
        assert not image.getexif()
        return image.size


def test_photos_of_any_declared_type_are_sent_one_by_one_and_large_ones_scaled_down(
    phones: Phones,
) -> None:
    page = phones.join("Linh", "Female")
    small = encode(hopper())
    choose(page, *[a_file(small, kind) for kind in _TYPES])
    expect(page.get_by_role("heading", name="Photo 1 of 7")).to_be_visible()
    expect(page.locator("#sheet-error")).to_be_hidden()
    page.keyboard.press("Escape")
    page.evaluate(_WATCH)
    # On its side in the file, as phones store it.
    exif = Image.Exif()
    exif[0x112] = 6
    turned = astronaut().resize((2400, 3000)).rotate(90, expand=True)
    large = encode(turned, quality=97, exif=exif)

    choose(page, a_file(large, "application/octet-stream"), a_file(small, ""))
    expect(page.get_by_role("heading", name="Photo 1 of 2")).to_be_visible()
    send(page)
    expect(page.get_by_role("heading", name="Photo 2 of 2")).to_be_visible()
    send(page)

    first, second = sent_photos(page, 2)
    expect(page.locator("#upload-sheet")).to_be_hidden()
    expect_photos(page, 2)
    expect(page.locator("#sending")).to_be_hidden()
    assert size_of(first) == (1280, 1600)
    assert len(first) < len(large) / 2
    assert second == small
    expect_none_kept(page)


@in_both_browsers
def test_photo_is_turned_and_cropped_before_it_is_sent(phones: Phones) -> None:
    page = phones.join("Linh", "Female")
    add = page.get_by_role("link", name="Add", exact=True)
    add.click()
    choose(page, a_file(encode(astronaut().resize((600, 800)))))
    page.keyboard.press("Escape")
    expect(page.locator("#upload-sheet")).to_be_hidden()
    expect(add).to_be_focused()
    expect_none_kept(page)

    choose(page, a_file(encode(astronaut().resize((600, 800)))))
    page.get_by_role("button", name="Turn").click()
    page.evaluate(_WATCH)
    send(page)
    [turned] = sent_photos(page, 1)
    expect_photos(page, 1)
    choose(page, a_file(encode(astronaut().resize((601, 800)))))
    page.get_by_role("button", name="Square").press("Enter")
    page.get_by_role("button", name="Zoom in").press("Enter")
    page.locator("#crop-stage").press("ArrowUp")
    page.evaluate(_WATCH)
    send(page)
    [square] = sent_photos(page, 1)

    assert size_of(turned) == (800, 600)
    assert size_of(square)[0] == size_of(square)[1] < 600


def test_photo_is_sent_where_what_crops_it_does_not_load(phones: Phones) -> None:
    # A service worker answers out of what it keeps.
    page = phones.again(phones.join("Linh", "Female"), service_workers="block")
    page.route("**/cropper.min.css", lambda route: route.abort())
    page.goto(f"{phones.url}/feed")
    choose(page, a_file(encode(astronaut())))
    send(page)

    expect(page.locator("#upload-sheet")).to_be_hidden()
    expect_photos(page, 1)


def test_upload_goes_on_after_cuts_by_itself_and_arrives_once(phones: Phones) -> None:
    page = phones.join("Linh", "Female")
    answers = ["lost on the way back", "busy"]

    def break_first(route: Route) -> None:
        match answers.pop(0) if answers else "":
            case "lost on the way back":
                assert route.fetch().status == 202
                route.abort("connectionreset")
            case "busy":
                route.fulfill(status=503, headers={"Retry-After": "2"}, body="<html>Busy</html>")
            case _:
                route.continue_()

    page.route("**/upload?*", break_first)
    page.evaluate(_WATCH)
    choose(page, a_file(encode(astronaut())))
    send(page)

    page.wait_for_function("() => window.said.includes('Your photo was sent.')")
    assert answers == []
    for seconds in (1, 2):
        assert f"Not sent yet. Trying again in {seconds} s" in page.evaluate("window.said")
    expect_photos(page, 1)


def test_upload_to_a_full_server_says_why_it_waits_and_is_sent_once_there_is_room(
    phones: Phones,
) -> None:
    page = phones.join("Linh", "Female")
    # For longer than a minute no page waits by itself.
    waits_s = [1, 61]
    error = {"code": "storage_full", "message": "of the API"}

    def refuse(route: Route) -> None:
        headers = {"Retry-After": str(waits_s.pop(0))}
        route.fulfill(status=503, headers=headers, json={"error": error})

    page.route("**/upload?*", refuse)
    page.evaluate(_WATCH)
    choose(page, a_file(encode(astronaut())))
    send(page)

    problem = page.locator("#file-error")
    expect(problem).to_contain_text("Our server has no room for photos right now.")
    expect(problem).to_contain_text("we'll send it when you open this page again")
    assert waits_s == []
    assert "Our server has no room for photos right now. Trying again in 1 s" in page.evaluate(
        "window.said"
    )
    page.unroute("**/upload?*")
    page.reload()
    expect_photos(page, 1)
    expect_none_kept(page)


def test_page_is_loaded_anew_for_a_photo_only_where_it_hears_no_news(phones: Phones) -> None:
    page = phones.join("Linh", "Female")
    page.clock.install(time=0)
    page.clock.pause_at(1)
    page.goto(f"{phones.url}/feed")
    expect(page.locator("#live")).to_have_text("Live")
    page.evaluate("window.sameDocument = true")
    # A photo that is queued, and never comes by the stream.
    answer = {"face": {"id": "x"}, "job": {"status": "pending"}, "message": "Photo added."}
    page.route("**/upload?*", lambda route: route.fulfill(status=202, json=answer))
    page.evaluate(_DROP, [list(encode(astronaut())), "drop"])
    expect(page.locator("#sent")).to_have_text("Photo added.")

    page.clock.run_for(_LOOKED_MS)
    assert page.evaluate("window.sameDocument")

    page.evaluate("window.dispatchEvent(new PageTransitionEvent('pagehide'))")
    page.clock.run_for(_LOOKED_MS)
    page.wait_for_function("() => !window.sameDocument")


def test_chosen_photo_outlives_the_session_for_its_owner_alone(phones: Phones) -> None:
    him = phones.join("Minh", "Male")
    page = phones.join("Linh", "Female")
    owner, other = (phones.email(name) for name in ("Linh", "Minh"))
    him.close()
    choose(page, a_file(encode(astronaut())))
    page.context.clear_cookies()
    send(page)
    expect(page.get_by_text("Sign in again, and we'll send your photo")).to_be_visible()

    sign_in(page, phones, owner)
    # It was to be sent, so it is.
    expect_photos(page, 1)
    expect(page.locator("#sending")).to_be_hidden()

    choose(page, a_file(encode(hopper())))
    page.reload()
    expect(page.locator("#kept")).to_contain_text("We kept the photo you chose.")
    page.get_by_role("button", name="Continue").click()
    expect(page.get_by_role("img", name="The photo you chose").first).to_be_visible()
    page.context.clear_cookies()
    sign_in(page, phones, other)
    expect(page.locator("#live")).to_have_text("Live")
    expect_none_kept(page)
    expect(page.locator("#kept")).to_be_hidden()

    choose(page, a_file(encode(hopper())))
    page.reload()
    expect(page.locator("#kept")).to_be_visible()
    assert kept(page) == 1
    page.get_by_role("button", name="Sign out").click()
    expect(page).to_have_url(f"{phones.url}/sign-in")
    assert kept(page) == 0

    sign_in(page, phones, owner)
    choose(page, a_file(encode(hopper())))
    page.clock.set_system_time(datetime.now(UTC) + timedelta(minutes=61))
    page.reload()
    expect(page.locator("#live")).to_have_text("Live")
    expect_none_kept(page)
    expect(page.locator("#kept")).to_be_hidden()


def test_photo_dropped_on_any_page_is_sent(phones: Phones) -> None:
    page = phones.join("Linh", "Female")
    photo = list(encode(astronaut()))
    page.goto(f"{phones.url}/profile")
    page.evaluate(_DROP, [photo, "dragover"])
    shown = "getComputedStyle(document.body, '::after').content"
    assert "Drop your photo" in page.evaluate(shown)

    page.evaluate(_DROP, [photo, "drop"])

    expect(page).to_have_url(f"{phones.url}/photos")
    expect_photos(page, 1)
    assert page.evaluate(shown) == "none"
    page.evaluate(_DROP, [list(encode(hopper())), "drop"])
    expect_photos(page, 2)
    page.set_viewport_size({"width": 320, "height": 640})
    for path in ("/photos", "/feed"):
        page.goto(phones.url + path)
        page.evaluate("document.documentElement.style.fontSize = '200%'")
        assert page.evaluate("document.documentElement.scrollWidth") <= 320
