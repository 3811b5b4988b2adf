"""Two people in two browsers: the product as its users see it, started as they start it."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image, ImageOps
from playwright.sync_api import Browser, Page, expect, sync_playwright

from tests.support.command import running_up
from tests.support.photos import astronaut, encode, scene_without_face

_CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    if _CHROMIUM is None:
        if os.environ.get("CI"):
            pytest.fail("no chromium: install Debian's package `chromium`")
        pytest.skip("no chromium: install Debian's package `chromium` to run the browser tests")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=_CHROMIUM,
            args=["--no-sandbox", "--disable-background-networking"],
        )
        yield browser
        browser.close()


def _photo(folder: Path, name: str, image: Image.Image) -> Path:
    path = folder / f"{name}.jpg"
    path.write_bytes(encode(image))
    return path


def _join(browser: Browser, url: str, name: str, gender: str) -> Page:
    page = browser.new_context(viewport={"width": 390, "height": 844}).new_page()
    page.set_default_timeout(20_000)
    page.goto(url)
    page.get_by_role("link", name=re.compile("create", re.IGNORECASE)).click()
    page.get_by_label(re.compile("e-?mail", re.IGNORECASE)).fill(f"{name.lower()}@example.org")
    page.get_by_label(re.compile("password", re.IGNORECASE)).fill("correct horse battery")
    page.get_by_role("button", name=re.compile("create", re.IGNORECASE)).click()
    page.get_by_label("Name", exact=True).fill(name)
    page.get_by_role("combobox", name="School").fill("UIT")
    page.get_by_label(gender, exact=True).check()
    page.get_by_label("Birth date").fill("2000-02-29")
    page.get_by_role("checkbox").check()
    page.get_by_role("button", name="Continue").click()
    expect(page).to_have_url(f"{url}/feed")
    return page


def _upload(page: Page, photo: Path) -> None:
    page.get_by_label("A photo of you alone").set_input_files(photo)
    page.get_by_role("button", name="Find my look-alikes").click()


def test_match_arrives_on_both_screens_without_a_refresh(
    browser: Browser, empty_home: Path, tmp_path: Path
) -> None:
    with running_up(empty_home) as up:
        her = _join(browser, up.url, "Linh", "Female")
        him = _join(browser, up.url, "Minh", "Male")
        for page in (her, him):
            # Survives as long as the page is not loaded again.
            page.evaluate("window.sameDocument = true")

        _upload(her, _photo(tmp_path, "her", astronaut()))
        expect(her.locator("#jobs")).to_contain_text("No look-alikes yet")
        _upload(him, _photo(tmp_path, "him", ImageOps.mirror(astronaut())))

        expect(her.locator("#cards li")).to_contain_text("Minh")
        expect(him.locator("#cards li")).to_contain_text("Linh")
        assert her.evaluate("window.sameDocument")
        assert him.evaluate("window.sameDocument")
        photo = him.locator("#cards li img").first
        assert photo.evaluate("image => image.decode().then(() => image.naturalWidth)") > 0


def test_refused_photo_shows_its_reason_and_the_next_one_works(
    browser: Browser, empty_home: Path, tmp_path: Path
) -> None:
    with running_up(empty_home) as up:
        page = _join(browser, up.url, "Linh", "Female")

        _upload(page, _photo(tmp_path, "cup", scene_without_face()))
        expect(page.locator("#jobs")).to_contain_text("No face was found")
        _upload(page, _photo(tmp_path, "her", astronaut()))

        expect(page.locator("#jobs")).to_contain_text("No look-alikes yet")


def test_feed_is_usable_without_javascript(
    browser: Browser, empty_home: Path, tmp_path: Path
) -> None:
    with running_up(empty_home) as up:
        context = browser.new_context(java_script_enabled=False)
        scripted = _join(browser, up.url, "Linh", "Female")
        context.add_cookies(scripted.context.cookies())
        page = context.new_page()
        page.goto(f"{up.url}/feed")

        _upload(page, _photo(tmp_path, "her", astronaut()))

        expect(page).to_have_url(f"{up.url}/feed")
        expect(page.locator("#jobs li")).to_have_count(1)
        expect(page.locator("noscript a")).to_be_visible()
