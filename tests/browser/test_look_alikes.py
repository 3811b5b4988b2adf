"""The page of a look-alike: two faces by finger and key, and the way on and back."""

from __future__ import annotations

import re
from pathlib import Path
from uuid import uuid4

from playwright.sync_api import Page, expect

from tests.support.browser import Phones, in_both_browsers, upload, write_photo
from tests.support.photos import astronaut

_PERSON = """
    insert into public.profiles (id, name, school, gender, birth_date)
    values (%s, %s, %s, 'male', '2000-02-29')
"""
_CONSENT = """
    insert into public.biometric_consents (profile_id, action, text_version)
    select %s, 'granted', max(t.version) from public.consent_texts as t
"""
# With her picture, so that there is one to show.
_MATCH = """
    with her as (
        select f.id, f.profile_id, f.image_path
        from public.faces as f join public.profiles as p on p.id = f.profile_id
        where p.school = %s and p.gender = 'female'
    ),
    face as (
        insert into public.faces (id, profile_id, image_path, image_sha256)
        select %s, %s, her.image_path, %s from her
        returning id, profile_id
    ),
    written as (
        insert into public.matches (face_a_id, face_b_id, profile_a_id, profile_b_id, similarity)
        select least(her.id, face.id), greatest(her.id, face.id),
               case when her.id < face.id then her.profile_id else face.profile_id end,
               case when her.id < face.id then face.profile_id else her.profile_id end, %s
        from her, face
        returning id
    )
    select automatch.publish_matches(array(select id from written))
"""


def add_look_alikes(phones: Phones, names: list[str]) -> None:
    """Put men into the feed of the woman of this test, the last of them on top."""
    for number, name in enumerate(names):
        person, face = uuid4(), uuid4()
        phones.execute(_PERSON, person, name, phones.school)
        phones.execute(_CONSENT, person)
        similarity = max(0.9 - number / 10, 0.5)
        phones.execute(_MATCH, phones.school, face, person, face.hex * 2, similarity)


def with_photo(phones: Phones, folder: Path) -> Page:
    page = phones.join("Linh", "Female")
    upload(page, write_photo(folder, "her", astronaut()))
    expect(page.locator("#jobs")).to_contain_text("No look-alikes yet")
    return page


def test_two_faces_are_compared_by_finger_and_key_and_back_leads_to_the_feed(
    phones: Phones, tmp_path: Path
) -> None:
    page = with_photo(phones, tmp_path)
    add_look_alikes(phones, ["An", "Bao", "Chi"])
    page.reload()

    page.get_by_role("link", name="Chi").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Chi")
    pictures = page.get_by_role("img")
    expect(pictures.first).to_have_accessible_name("Your photo")
    expect(pictures.last).to_have_accessible_name("Photo of Chi")

    page.get_by_role("button", name="On top of each other").click()
    slider = page.get_by_role("slider", name="How much you see of Chi")
    box = page.locator("#faces").bounding_box()
    assert box
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + 50)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] / 4, box["y"] + 50)
    page.mouse.up()
    expect(slider).to_have_value("25")
    slider.press("ArrowRight")
    expect(slider).to_have_value("26")
    expect(page.locator("#compare")).to_have_attribute("style", "--cut: 26%;")

    # On the slider an arrow moved it; elsewhere it leads on, and not deeper into the history.
    page.locator("h1").click()
    page.keyboard.press("ArrowRight")
    expect(page.get_by_role("heading", level=1)).to_have_text("Bao")
    swipe(page, -120)
    expect(page.get_by_role("heading", level=1)).to_have_text("An")
    swipe(page, 120)
    expect(page.get_by_role("heading", level=1)).to_have_text("Bao")
    wait_for_its_script(page)
    page.keyboard.press("Escape")
    expect(page).to_have_url(f"{phones.url}/feed")
    expect(page.locator("#cards li")).to_have_count(3)


def swipe(page: Page, across: int) -> None:
    """Move a finger over the page, by the events that a touch screen sends."""
    wait_for_its_script(page)
    page.evaluate(
        """across => {
            const at = (x) => ({ clientX: x, clientY: 300 });
            const send = (kind, lists) => document.querySelector("h1").dispatchEvent(
                Object.assign(new Event(kind, { bubbles: true }), lists));
            send("touchstart", { touches: [at(200)] });
            send("touchend", { touches: [], changedTouches: [at(200 + across)] });
        }""",
        across,
    )


def wait_for_its_script(page: Page) -> None:
    """Wait until the page listens to fingers and keys."""
    expect(page.get_by_role("button", name="On top of each other")).to_be_visible()


@in_both_browsers
def test_new_goes_from_all_windows_when_seen_in_one_and_back_leads_to_the_same_place(
    phones: Phones, tmp_path: Path
) -> None:
    page = with_photo(phones, tmp_path)
    page.goto(f"{phones.url}/profile")
    add_look_alikes(phones, ["An", "Bao", "Chi", "Dung"])
    # So low that no card is in view.
    other = phones.again(page, viewport={"width": 390, "height": 200})
    other.goto(f"{phones.url}/feed")
    count = other.locator("#new-count")
    expect(other.locator("#live")).to_have_text("Live")
    expect(other.locator(".new-mark")).to_have_count(4)
    expect(other).to_have_title(re.compile(r"^\(4\) Your"))
    expect(count).to_have_text("4 new")
    other.evaluate("window.sameDocument = true")

    page.goto(f"{phones.url}/feed")
    expect(other.locator(".new-mark")).not_to_have_count(4)
    last = page.get_by_role("link", name="An", exact=True)
    last.scroll_into_view_if_needed()
    place = page.evaluate("scrollY")
    assert place > 0

    expect(other.locator(".new-mark")).to_have_count(0)
    expect(other).to_have_title(re.compile("^Your"))
    expect(count).to_be_hidden()
    assert other.evaluate("window.sameDocument")
    last.click()
    expect(page.get_by_role("heading", level=1)).to_have_text("An")
    wait_for_its_script(page)
    page.keyboard.press("Escape")
    expect(page.locator("#cards li")).to_have_count(4)
    page.wait_for_function("place => scrollY === place", arg=place)
