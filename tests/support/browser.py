"""People in front of browsers, at one installation that is started as its owner would start it."""

from __future__ import annotations

import itertools
import os
import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import psycopg
import pytest
from PIL import Image
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

from automatch.postgres.addresses import database_address
from automatch.settings import Settings
from automatch.settings.secrets import load_or_create
from tests.support.command import running_up
from tests.support.homes import StoredHome
from tests.support.photos import encode
from tests.support.postgres import remove_home

_CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
_SHELL = shutil.which("chromium-headless-shell") or _CHROMIUM
"""Without the browser's own windows, which take half the time of a page."""
_FIREFOX = shutil.which("firefox-esr") or shutil.which("firefox")
_PRELOAD = Path(__file__).with_name("playwright_preload.cjs")
PATIENCE_MS = 60_000
_SWITCHES = ["--no-sandbox", "--disable-background-networking"]
_PREFERENCES: dict[str, str | float | bool] = {
    # All pages are of one server, so they need no processes of their own.
    "fission.autostart": False,
    "dom.ipc.processCount": 1,
    "dom.ipc.processPrelaunch.enabled": False,
    "browser.newtab.preload": False,
    "media.rdd-process.enabled": False,
}
_serial = itertools.count(1)
_LONG_MS = 10_000
PASSWORD = "correct horse battery"


in_both_browsers = pytest.mark.parametrize("browser", ["chromium", "firefox"], indirect=True)
"""Run a test in Chromium and in Firefox; without it a test runs in Chromium alone."""

in_whole_chromium = pytest.mark.parametrize("browser", ["whole chromium"], indirect=True)
"""Run a test in the Chromium that people have: it installs apps, and loads pictures as it does."""


@dataclass(frozen=True)
class Installation:
    """A running `automatch up`, and how to reach its database."""

    url: str
    owner: str
    conn: psycopg.Connection
    """A connection of its owner, in autocommit."""


class Phones:
    """The browsers of the people of one test, whose school nobody else goes to."""

    def __init__(self, browser: Browser, installation: Installation) -> None:
        self.url = installation.url
        self._browser = browser
        self._conn = installation.conn
        self._number = next(_serial)
        self.school = f"UIT {self._number}"
        self.execute("select public.add_school(%s, p_open => true)", self.school)
        self._contexts: list[BrowserContext] = []

    def join(self, name: str, gender: str) -> Page:
        """Create an account and a profile, and consent, by requests; return the feed's page."""
        page = self.open()
        account = {"email": self.email(name), "password": PASSWORD}
        self._send(page, "/sign-up", account)
        version = self.value("select max(version) from public.consent_texts")
        profile = {"name": name, "school": self.school, "gender": gender.lower()}
        profile |= {"birth_date": "2000-02-29", "consent": str(version)}
        self._send(page, "/onboarding", profile)
        page.goto(f"{self.url}/feed")
        return page

    def sign_up(self, name: str, gender: str) -> Page:
        """Join as people do, by hand; return the page of the feed."""
        page = self.open()
        email = self.email(name)
        sign_up(page, self.url, email=email, name=name, gender=gender, school=self.school)
        return page

    def open(self) -> Page:
        """Return the page of somebody who has not been here before."""
        return self._open().new_page()

    def execute(self, statement: str, *parameters: object) -> None:
        """Run SQL as the owner of the installation."""
        self._conn.execute(statement.encode(), parameters)

    def value(self, query: str, *parameters: object) -> object:
        """Return the first value that a query finds, as the owner of the installation."""
        row = self._conn.execute(query.encode(), parameters).fetchone()
        return row[0] if row else None

    def email(self, name: str) -> str:
        """Return the address with which somebody joined."""
        return f"{name.lower()}{self._number}@example.org"

    def without_scripts(self, page: Page) -> Page:
        """Return another page of the same person, in a browser without JavaScript."""
        return self.again(page, java_script_enabled=False)

    def again(self, page: Page, **options: Any) -> Page:
        """Return another page of the same person, in a browser with these options of its own."""
        context = self._open(**options)
        context.add_cookies(page.context.cookies())
        return context.new_page()

    def close(self) -> None:
        for context in self._contexts:
            context.close()

    def _send(self, page: Page, path: str, form: dict[str, str]) -> None:
        headers = {"origin": self.url}
        answer = page.request.post(self.url + path, form=form, headers=headers, max_redirects=0)
        assert answer.status == 303, answer.text()

    def _open(self, **options: Any) -> BrowserContext:
        usual = {"viewport": {"width": 390, "height": 844}}
        context = self._browser.new_context(**(usual | options))
        self._contexts.append(context)
        context.set_default_timeout(PATIENCE_MS)
        # A toast goes after ten seconds, in which a busy machine may not come to its button.
        context.add_init_script(longer_timers(_LONG_MS))
        return context


def longer_timers(from_ms: int) -> str:
    """Return a script by which timers of so many milliseconds or more take ten times as long.

    For what a page does when nothing else happens, while the test is about what else happens.
    """
    return f"""
        const setTimer = window.setTimeout;
        window.setTimeout = (work, ms, ...values) =>
            setTimer(work, ms >= {from_ms} ? 10 * ms : ms, ...values);
    """


def sign_up(page: Page, url: str, *, email: str, name: str, gender: str, school: str) -> None:
    """Create an account and a profile, and consent, by hand; the page is the feed then."""
    page.goto(url)
    page.get_by_role("link", name=re.compile("create", re.IGNORECASE)).click()
    page.get_by_label(re.compile("e-?mail", re.IGNORECASE)).fill(email)
    page.get_by_label(re.compile("password", re.IGNORECASE)).fill(PASSWORD)
    page.get_by_role("button", name=re.compile("create", re.IGNORECASE)).click()
    page.get_by_label("Name", exact=True).fill(name)
    page.get_by_role("combobox", name="School").select_option(school)
    page.get_by_label(gender, exact=True).check()
    page.get_by_label("Birth date").fill("2000-02-29")
    page.get_by_role("checkbox").check()
    page.get_by_role("button", name="Continue").click()
    expect(page).to_have_url(f"{url}/feed")
    # Before its scripts are there, the page behaves as it does without any.
    page.wait_for_load_state()


def upload(page: Page, photo: Path) -> None:
    """Choose a photo on the page of the feed and send it as it is."""
    page.locator("#choose-photo").set_input_files(photo)
    page.get_by_role("button", name="Find my look-alikes").click()
    expect(page.locator("#upload-sheet")).to_be_hidden()


def write_photo(folder: Path, name: str, image: Image.Image) -> Path:
    """Write an image as a file; return its path."""
    path = folder / f"{name}.jpg"
    path.write_bytes(encode(image))
    return path


@pytest.fixture(scope="session")
def chromium() -> str:
    """Give the path of Chromium."""
    return _installed("chromium", _CHROMIUM)


def _installed(package: str, path: str | None) -> str:
    if path is not None:
        return path
    missing = f"no {package}: install Debian's package `{package}`"
    if os.environ.get("CI"):
        pytest.fail(missing)
    pytest.skip(f"{missing} to run the browser tests")


@pytest.fixture(scope="package")
def installation(
    chromium: str, migrated_home: StoredHome, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Installation]:
    """Give a running `automatch up`, which all tests with a browser share."""
    assert chromium
    home = migrated_home.copy_to(tmp_path_factory.mktemp("browser") / "data")
    owner = database_address(Settings(home=home), load_or_create(home), "owner")
    with running_up(home) as up, psycopg.connect(owner, autocommit=True) as conn:
        yield Installation(up.url, owner, conn)
    remove_home(home)


# Not for longer: while Playwright runs, the process can run no event loop of other tests.
@pytest.fixture(scope="package")
def browsers(chromium: str, migrated_home: StoredHome) -> Iterator[Callable[[str], Browser]]:
    """Give each browser by its name; it is started when it is first asked for."""
    assert migrated_home
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("NODE_OPTIONS", f"--require {_PRELOAD}")
        with sync_playwright() as playwright:
            # Enough for a first photo on a busy machine, which has to load the models.
            expect.set_options(timeout=PATIENCE_MS)

            @cache
            def start(name: str) -> Browser:
                if name != "firefox":
                    path = chromium if name == "whole chromium" else _SHELL
                    return playwright.chromium.launch(executable_path=path, args=_SWITCHES)
                path = _installed("firefox-esr", _FIREFOX)
                # Playwright's own way needs a Firefox that it patched; this one is WebDriver BiDi.
                return playwright.firefox.launch(
                    channel="moz-firefox", executable_path=path, firefox_user_prefs=_PREFERENCES
                )

            yield start


@pytest.fixture
def browser(request: pytest.FixtureRequest, browsers: Callable[[str], Browser]) -> Browser:
    """Give a running browser: Chromium, or what the test asks for."""
    return browsers(getattr(request, "param", "chromium"))


@pytest.fixture
def phones(browser: Browser, installation: Installation) -> Iterator[Phones]:
    """Give browsers for the people of one test."""
    phones = Phones(browser, installation)
    yield phones
    phones.close()
