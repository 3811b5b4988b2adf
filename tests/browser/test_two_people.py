"""Two people in two browsers, with a server started by `automatch up`."""

from __future__ import annotations

from pathlib import Path

from PIL import ImageOps
from playwright.sync_api import expect

from tests.browser.test_look_alikes import add_look_alikes
from tests.support.browser import Phones, upload, write_photo
from tests.support.photos import astronaut, scene_without_face


def test_refused_photo_a_match_and_an_erased_account_reach_the_screens_without_a_refresh(
    phones: Phones, tmp_path: Path
) -> None:
    her = phones.sign_up("Linh", "Female")
    him = phones.join("Minh", "Male")
    for page in (her, him):
        # Survives as long as the page is not loaded again.
        page.evaluate("window.sameDocument = true")

    upload(her, write_photo(tmp_path, "cup", scene_without_face()))
    expect(her.locator("#jobs")).to_contain_text("No face found")
    upload(her, write_photo(tmp_path, "her", astronaut()))
    expect(her.locator("#jobs")).to_contain_text("No look-alikes yet")
    upload(him, write_photo(tmp_path, "him", ImageOps.mirror(astronaut())))

    expect(her.locator("#cards li")).to_contain_text("Minh")
    expect(him.locator("#cards li")).to_contain_text("Linh")
    assert him.evaluate("window.sameDocument")
    photo = him.locator("#cards li img").first
    assert photo.evaluate("image => image.decode().then(() => image.naturalWidth)") > 0

    him.goto(f"{phones.url}/account/delete")
    him.get_by_label("Your password").fill("correct horse battery")
    him.get_by_role("button", name="Continue").click()
    him.get_by_role("button", name="Delete my account").click()
    expect(him.get_by_role("textbox", name="Receipt")).to_be_visible()

    expect(her.locator("#cards li")).to_have_count(0)
    assert her.evaluate("window.sameDocument")


def test_photo_is_added_and_somebody_reported_without_javascript(
    phones: Phones, tmp_path: Path
) -> None:
    her = phones.join("Linh", "Female")
    page = phones.without_scripts(her)
    page.goto(f"{phones.url}/feed")
    page.get_by_role("link", name="Add a photo").click()
    page.get_by_label("A photo of just you").set_input_files(
        write_photo(tmp_path, "her", astronaut())
    )
    page.get_by_role("button", name="Find my look-alikes").click()
    expect(page).to_have_url(f"{phones.url}/feed")
    expect(page.locator("#jobs li")).to_have_count(1)
    expect(page.locator("noscript a")).to_be_visible()
    expect(her.locator("#jobs")).to_contain_text("No look-alikes yet")
    add_look_alikes(phones, ["Minh"])
    expect(her.locator("#cards li")).to_contain_text("Minh")

    page.goto(f"{phones.url}/feed")
    page.locator("#cards summary").click()
    page.get_by_role("link", name="Report Minh").click()
    page.get_by_label("Harassment").check()
    page.get_by_label("What happened?").fill("He writes every night.")
    page.get_by_role("button", name="Report").click()

    expect(page.locator("#toasts")).to_contain_text("Reported. We'll look at it")
    expect(her.locator("#cards li")).to_have_count(0)
