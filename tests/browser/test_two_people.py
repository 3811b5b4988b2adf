"""Two people in two browsers, with a server started by `automatch up`."""

from __future__ import annotations

from pathlib import Path

from PIL import ImageOps
from playwright.sync_api import expect

from tests.support.browser import Phones, in_both_browsers, upload, write_photo
from tests.support.photos import astronaut, scene_without_face


@in_both_browsers
def test_match_arrives_on_both_screens_and_leaves_with_the_account_without_a_refresh(
    phones: Phones, tmp_path: Path
) -> None:
    her = phones.sign_up("Linh", "Female")
    him = phones.join("Minh", "Male")
    for page in (her, him):
        # Survives as long as the page is not loaded again.
        page.evaluate("window.sameDocument = true")

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


def test_refused_photo_shows_its_reason_and_the_next_one_works(
    phones: Phones, tmp_path: Path
) -> None:
    page = phones.join("Linh", "Female")

    upload(page, write_photo(tmp_path, "cup", scene_without_face()))
    expect(page.locator("#jobs")).to_contain_text("No face found")
    upload(page, write_photo(tmp_path, "her", astronaut()))

    expect(page.locator("#jobs")).to_contain_text("No look-alikes yet")


def test_feed_is_usable_without_javascript(phones: Phones, tmp_path: Path) -> None:
    page = phones.without_scripts(phones.join("Linh", "Female"))
    page.goto(f"{phones.url}/feed")
    page.get_by_role("link", name="Add a photo").click()
    page.get_by_label("A photo of just you").set_input_files(
        write_photo(tmp_path, "her", astronaut())
    )
    page.get_by_role("button", name="Find my look-alikes").click()

    expect(page).to_have_url(f"{phones.url}/feed")
    expect(page.locator("#jobs li")).to_have_count(1)
    expect(page.locator("noscript a")).to_be_visible()


def test_report_from_a_card_without_javascript_takes_the_card_from_both_screens(
    phones: Phones, tmp_path: Path
) -> None:
    her = phones.sign_up("Linh", "Female")
    him = phones.join("Minh", "Male")
    upload(her, write_photo(tmp_path, "her", astronaut()))
    upload(him, write_photo(tmp_path, "him", ImageOps.mirror(astronaut())))
    expect(him.locator("#cards li")).to_contain_text("Linh")

    page = phones.without_scripts(her)
    page.goto(f"{phones.url}/feed")
    page.locator("#cards summary").click()
    page.get_by_role("link", name="Report Minh").click()
    page.get_by_label("Harassment").check()
    page.get_by_label("What happened?").fill("He writes every night.")
    page.get_by_role("button", name="Report").click()

    expect(page.locator("#toasts")).to_contain_text("Reported. We'll look at it")
    expect(him.locator("#cards li")).to_have_count(0)
    expect(her.locator("#cards li")).to_have_count(0)
