"""A photo with several faces in a browser: tapped on a phone, by keyboard, and without scripts."""

from __future__ import annotations

from pathlib import Path

from PIL import ImageOps
from playwright.sync_api import Page, expect

from tests.support.browser import Phones, upload, write_photo
from tests.support.photos import astronaut, two_people

_FINGER = 44


def _page_with_question(phones: Phones, folder: Path) -> Page:
    """Return the page of a woman on a phone whose photo shows two faces."""
    page = phones.join("Linh", "Female")
    upload(page, write_photo(folder, "both", two_people()))
    expect(page.locator("#announcer")).to_contain_text("Which one is you? Tap your face.")
    page.locator("#jobs").get_by_role("link", name="Which one is you?").click()
    expect(page.locator(".face-picker.is-placed")).to_be_visible()
    page.evaluate("window.sameDocument = true")
    return page


def test_tapped_face_is_matched_live_on_both_phones(phones: Phones, tmp_path: Path) -> None:
    him = phones.join("Minh", "Male")
    upload(him, write_photo(tmp_path, "him", ImageOps.mirror(astronaut())))
    expect(him.locator("#jobs")).to_contain_text("No look-alikes yet")
    her = _page_with_question(phones, tmp_path)
    photo = her.get_by_role("img", name="Your photo, with 2 faces")
    assert photo.evaluate("image => image.decode().then(() => image.naturalWidth)") == 812
    frame = photo.bounding_box()
    faces = her.get_by_role("button", name="Face")
    expect(faces).to_have_count(2)
    left = faces.nth(0).bounding_box()
    assert frame is not None
    assert left is not None
    # Over the face of the astronaut, within the screen, and large enough for a finger.
    middle = (left["x"] + left["width"] / 2 - frame["x"]) / frame["width"]
    assert 0.2 < middle < 0.36
    assert frame["x"] + frame["width"] <= 390
    for face in faces.all():
        box = face.bounding_box()
        assert box is not None
        assert min(box["width"], box["height"]) >= _FINGER

    her.mouse.click(left["x"] + left["width"] / 2, left["y"] + left["height"] / 2)

    expect(him.locator("#cards li")).to_contain_text("Linh")
    expect(her.locator("#jobs")).to_contain_text("1 look-alike found")
    expect(her.locator(".face-picker")).to_have_count(0)
    assert her.evaluate("window.sameDocument")


def test_face_is_chosen_by_keyboard_and_again_where_the_answer_is_not_sent(
    phones: Phones, tmp_path: Path
) -> None:
    page = _page_with_question(phones, tmp_path)
    first = page.get_by_role("button", name="Face 1 of 2, on the left")
    page.get_by_role("link", name="Add a photo").focus()
    for _ in range(10):
        page.keyboard.press("Tab")
        if first.evaluate("button => button === document.activeElement"):
            break
    expect(first).to_be_focused()
    page.keyboard.press("Tab")
    second = page.get_by_role("button", name="Face 2 of 2, on the right")
    expect(second).to_be_focused()

    page.route("**/jobs/*/face", lambda route: route.abort())
    page.keyboard.press("Enter")
    expect(page.locator(".face-picker-error")).to_contain_text("tap again")
    page.unroute("**/jobs/*/face")
    second.press("Enter")

    expect(page.locator("#jobs")).to_contain_text("No look-alikes yet")
    assert page.evaluate("window.sameDocument")


def test_face_picker_is_a_form_without_javascript(phones: Phones, tmp_path: Path) -> None:
    scripted = _page_with_question(phones, tmp_path)
    page = phones.without_scripts(scripted)
    page.goto(f"{phones.url}/photos")
    numbers = page.locator(".face-picker svg text")
    expect(numbers).to_have_text(["1", "2"])
    photo = page.locator(".face-picker img").bounding_box()
    button = page.get_by_role("button", name="Face 1 of 2")
    box = button.bounding_box()
    assert photo is not None
    assert box is not None
    assert box["y"] >= photo["y"] + photo["height"]
    assert box["height"] >= _FINGER

    button.click()

    expect(page.get_by_role("status").first).to_contain_text("We're looking for your look-alikes")
    expect(page.locator(".face-picker")).to_have_count(0)
    expect(scripted.locator("#jobs")).to_contain_text("No look-alikes yet")
