"""Every way in and back by mail, in a browser, with a real mail server."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
import pytest
from playwright.sync_api import Browser, Page, expect

from automatch.postgres.addresses import database_address
from automatch.settings import Settings
from automatch.settings.secrets import load_or_create
from tests.support.browser import PATIENCE_MS
from tests.support.command import running_up
from tests.support.homes import StoredHome
from tests.support.postgres import remove_home
from tests.support.smtp import MailBox, link_in, mail_server

PASSWORDS = ("correct horse battery", "another horse, another battery", "a third horse")
HER, HER_NEW, IMPORTED = "linh@example.org", "linh@new.example.org", "imported@example.org"


@pytest.fixture(scope="module")
def box() -> Iterator[MailBox]:
    """Give a running mail server."""
    with mail_server() as box:
        yield box


@pytest.fixture(scope="module")
def home(migrated_home: StoredHome, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Give a data folder for the installation of this module."""
    home = migrated_home.copy_to(tmp_path_factory.mktemp("mailing") / "data")
    yield home
    remove_home(home)


@pytest.fixture(scope="module")
def installation(chromium: str, home: Path, box: MailBox) -> Iterator[str]:
    """Give the address of a running `automatch up` that sends mail."""
    assert chromium
    mail = {"MAIL__SMTP_URL": box.url, "MAIL__SENDER": "Auto-Match <no-reply@uit.example>"}
    with running_up(home, settings=mail) as up:
        yield up.url


def follow(page: Page, box: MailBox, recipient: str, *, subject: str) -> None:
    """Open the link of the next mail."""
    message = box.arrived.get(timeout=60)
    assert (message["To"], subject in message["Subject"]) == (recipient, True)
    page.goto(link_in(message))


def choose_password(page: Page, password: str) -> None:
    page.get_by_label("New password").fill(password)
    page.get_by_role("button", name="Save and sign in").click()


def test_people_come_in_and_back_by_mail(
    browser: Browser, installation: str, box: MailBox, home: Path
) -> None:
    context = browser.new_context(viewport={"width": 390, "height": 844})
    context.set_default_timeout(PATIENCE_MS)
    page = context.new_page()
    asked: set[str] = set()
    page.on("request", lambda request: asked.add(urlsplit(request.url).netloc))

    page.goto(f"{installation}/sign-up")
    page.get_by_label("E-mail").fill(HER)
    page.get_by_role("button", name="Create account").click()
    expect(page.get_by_role("heading", name="Check your e-mail")).to_be_visible()
    follow(page, box, HER, subject="Confirm your e-mail address")
    choose_password(page, PASSWORDS[0])
    expect(page).to_have_url(f"{installation}/onboarding")

    page.get_by_role("button", name="Sign out").click()
    page.get_by_role("link", name="Forgot your password?").click()
    page.get_by_label("E-mail").fill(HER)
    page.get_by_role("button", name="Send me a link").click()
    expect(page.get_by_text("we've sent it a link")).to_be_visible()
    follow(page, box, HER, subject="new password")
    choose_password(page, PASSWORDS[1])
    expect(page).to_have_url(f"{installation}/onboarding")

    page.get_by_role("button", name="Sign out").click()
    page.get_by_role("link", name="Forgot your password?").click()
    page.get_by_label("E-mail").fill(HER)
    page.get_by_role("button", name="Just e-mail me a sign-in link").click()
    expect(page.get_by_text("we've sent it a link")).to_be_visible()
    follow(page, box, HER, subject="Sign in")
    page.get_by_role("button", name="Sign in").click()
    expect(page).to_have_url(f"{installation}/onboarding")

    page.goto(f"{installation}/account")
    expect(page.get_by_text("Confirm your address")).to_have_count(0)
    page.get_by_label("New e-mail").fill(HER_NEW)
    page.locator("#email_password").fill(PASSWORDS[1])
    page.get_by_role("button", name="Change e-mail").click()
    expect(page.get_by_text("We've sent a link to your old and your new")).to_be_visible()
    follow(page, box, HER, subject="is about to change")
    page.get_by_role("button", name="Confirm").click()
    expect(page.get_by_text("Now open the link we've sent")).to_be_visible()
    follow(page, box, HER_NEW, subject="Confirm your new e-mail address")
    page.get_by_role("button", name="Confirm").click()
    expect(page.get_by_text("Your e-mail address is changed.")).to_be_visible()

    invite(home)
    follow(page, box, IMPORTED, subject="Your Auto-Match account")
    warning = page.get_by_role("alert")
    expect(warning).to_contain_text(f"You're signed in as {HER_NEW}")
    choose_password(page, PASSWORDS[2])
    expect(page).to_have_url(f"{installation}/onboarding")
    page.goto(f"{installation}/account")
    expect(page.get_by_text(f"Your address is {IMPORTED}")).to_be_visible()

    # No link leaves by a request to anybody else.
    assert asked == {urlsplit(installation).netloc}
    context.close()


def invite(home: Path) -> None:
    """Make an account that nobody has used, and have its person invited, as an import does."""
    owner = database_address(Settings(home=home), load_or_create(home), "owner")
    with psycopg.connect(owner) as conn:
        conn.execute("select auth.create_user(%s, '!', '{}')", [IMPORTED])
        conn.execute("select public.enqueue_mail('invite', %s)", [IMPORTED])
