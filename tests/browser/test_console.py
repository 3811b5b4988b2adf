"""Every page of the console on a phone and on a desktop, light and dark, and refreshing itself.

AUTOMATCH_SCREENSHOTS names a folder in which a picture of each is left.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from uuid import UUID

import psycopg
import pytest
from playwright.sync_api import (
    Browser,
    BrowserContext,
    ConsoleMessage,
    Page,
    ViewportSize,
    expect,
)
from psycopg.types.json import Jsonb

from tests.support.accessibility import findings, findings_in_light_and_dark, load_axe
from tests.support.browser import (
    PASSWORD,
    PATIENCE_MS,
    Installation,
    Phones,
    upload,
    write_photo,
)
from tests.support.build import a_pair, connect
from tests.support.operators import Registry
from tests.support.photos import two_people
from tests.support.waiting import wait_until

WIDTHS = {"phone": 375, "desktop": 1280}
_HEIGHT = 800
# A phone has less in its frame; the rest is the same there, in other places.
_RULES_OF_PLACES = ("color-contrast", "target-size", "scrollable-region-focusable")
_OPEN_TABLES = "open => document.querySelectorAll('.chart-table').forEach(it => it.open = open)"
_SCHEMES: tuple[Literal["light", "dark"], ...] = ("light", "dark")


@dataclass(frozen=True)
class Desks(Registry):
    """An owner, and windows that are as wide as a desktop until they are made narrower."""

    url: str
    conn: psycopg.Connection
    context: BrowserContext
    things: dict[str, UUID]
    """Ids of what there is to look at."""


@dataclass(frozen=True)
class Window:
    """A window of the owner, and what its console and its scripts complained of."""

    page: Page
    complaints: list[str]


PAGES: dict[str, Callable[[dict[str, UUID]], str]] = {
    "overview": lambda _: "/admin",
    "overview of 30 days": lambda _: "/admin?range=month",
    "jobs": lambda _: "/admin/jobs",
    "failed jobs": lambda _: "/admin/jobs?status=failed&code=no_face",
    "no jobs": lambda _: "/admin/jobs?school=Nowhere",
    "job": lambda ids: f"/admin/jobs/{ids['job']}",
    "retry": lambda _: "/admin/jobs/retry?code=no_face",
    "threshold": lambda _: "/admin/threshold?value=0.6",
    "set the threshold": lambda _: "/admin/threshold/set?value=0.6&rerun=1",
    "models": lambda _: "/admin/models",
    "duplicates": lambda _: "/admin/duplicates",
    "pair": lambda ids: f"/admin/duplicates/{ids['pair']}",
    "keep pairs apart": lambda _: "/admin/duplicates/matching?match=no",
    "schedule": lambda _: "/admin/schedule",
    "scheduled job": lambda _: "/admin/schedule/cleanup-match-jobs",
    "settings": lambda _: "/admin/settings",
    "people": lambda _: "/admin/people?q=example.org",
    "nobody": lambda _: "/admin/people?q=nobody-like-this",
    "person": lambda ids: f"/admin/people/{ids['person']}/sessions",
    "frozen person": lambda ids: f"/admin/people/{ids['frozen']}",
    "erase": lambda ids: f"/admin/people/{ids['person']}/erase",
    "cases": lambda _: "/admin/cases",
    "case": lambda ids: f"/admin/cases/{ids['case']}",
    "held": lambda _: "/admin/held",
    "requests": lambda _: "/admin/requests",
    "schools": lambda _: "/admin/schools",
    "school": lambda _: "/admin/schools/school?name=Closed",
    "close a school": lambda _: "/admin/schools/close?name=UIT",
    "mail": lambda _: "/admin/mail",
    "audit log": lambda _: "/admin/audit",
    "operators": lambda _: "/admin/operators",
    "texts": lambda _: "/admin/texts",
    "password": lambda _: "/admin/password?to=/admin/people",
    "unknown": lambda _: "/admin/cases/00000000-0000-0000-0000-000000000000",
}
"""Pages by their name, and their addresses."""


def _fill(desks: Desks) -> None:
    """Make what the pages show."""
    she = desks.person(name="Nguyễn Thị Linh")
    desks.conn.execute(
        "insert into automatch.imported_people (profile_id, email_sha256) values (%s, %s)",
        [she, she.hex],
    )
    desks.conn.execute("select auth.start_session(%s, %s)", [she, she.bytes])
    him = desks.person(name="Trần Văn Minh")
    desks.job(him)
    case_id = desks.case(him)
    desks.conn.execute(
        "insert into automatch.case_messages (case_id, author, audience, body)"
        " values (%s, 'reporter', 'operators', 'This is my photo, and I never joined.')",
        [case_id],
    )
    desks.held(desks.person(name="Phạm Thu Hà"))
    desks.asking(desks.person(name="Lê Minh Anh"))
    desks.invitation("Closed")
    desks.mail(she)
    job = desks.job(him)
    desks.conn.execute(
        "update public.match_jobs set status = 'failed', error_code = 'no_face', scheduled = false,"
        " error_message = 'No face was found.', completed_at = now(), lease_expires_at = null,"
        " worker_id = null, timings = %s where id = %s",
        ['{"claimed_ms": 30, "embedded_ms": 200, "decode_ms": 40, "detect_ms": 120}', job],
    )
    _fill_history(desks.conn)
    with connect(desks.conn.info.dsn, password=desks.conn.info.password) as other:
        a_pair(other, 0.62)
    desks.things.update(
        job=job,
        pair=desks.pair(she),
        person=she,
        frozen=desks.frozen(desks.person(name="Võ Quốc Huy")),
        case=case_id,
    )


def _fill_history(conn: psycopg.Connection) -> None:
    """Let a day be over in whose first hour and at whose end jobs were done, each five minutes.

    An hour, since the first rows leave the chart while the tests run, and a row before a gap is
    spread over it.
    """
    stages = {"wait": 20, "decode": 40, "detect": 90, "embed": 15, "search": 4, "publish": 12}
    stages |= {"deliver": 30, "to_screen": 211, "to_end": 181}
    conn.execute(
        "insert into automatch.history"
        " select date_bin('5 minutes', now(), 'epoch') - make_interval(mins => ago),"
        " 9, 8, 0, 30, 1, '{\"no_face\": 1}', %s, 2, 1.5"
        " from (select generate_series(1380, 1440, 5) union all select unnest(array[20, 15, 10]))"
        " as rows (ago) on conflict do nothing",
        [Jsonb({name: {"ms": 8 * ms, "counts": {"14": 8}} for name, ms in stages.items()})],
    )


@pytest.fixture(scope="module")
def desks(browsers: Callable[[str], Browser], installation: Installation) -> Iterator[Desks]:
    """Give an owner who is signed in, and a few people."""
    url, email = installation.url, "console-owner@example.org"
    account = {"email": email, "password": PASSWORD}
    viewport = ViewportSize(width=WIDTHS["desktop"], height=_HEIGHT)
    with (
        browsers("chromium").new_context(viewport=viewport, reduced_motion="reduce") as context,
        psycopg.connect(installation.owner, autocommit=True) as conn,
    ):
        context.set_default_timeout(PATIENCE_MS)
        load_axe(context)
        context.request.post(f"{url}/sign-up", form=account, headers={"origin": url})
        conn.execute(
            "insert into automatch.operators select id, 'owner' from public.profiles"
            " where email = %s",
            [email],
        )
        # So that what cannot be undone is asked for, and not the password.
        conn.execute(
            "update auth.sessions set password_entered_at = now() + interval '1 hour'"
            " where user_id = (select id from auth.users where email = %s)",
            [email],
        )
        desks = Desks(url, conn, context, {})
        _fill(desks)
        yield desks


@pytest.fixture
def page(desks: Desks) -> Iterator[Page]:
    """Give a window of the owner."""
    with desks.context.new_page() as page:
        yield page


@pytest.fixture(scope="module")
def window(desks: Desks) -> Iterator[Window]:
    """Give a window in which one page is opened after the other."""
    complaints: list[str] = []
    with desks.context.new_page() as page:
        page.on("console", lambda message: _note(message, complaints))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        yield Window(page, complaints)


@pytest.mark.parametrize("name", PAGES)
def test_page_is_readable_everywhere_and_by_everybody(
    desks: Desks, window: Window, name: str, subtests: pytest.Subtests
) -> None:
    page = window.page
    window.complaints.clear()
    page.set_viewport_size({"width": WIDTHS["phone"], "height": _HEIGHT})
    answer = page.goto(f"{desks.url}{PAGES[name](desks.things)}")
    page.wait_for_load_state()
    assert answer is not None

    for device, width in WIDTHS.items():
        with subtests.test(device):
            page.set_viewport_size({"width": width, "height": _HEIGHT})
            _keep_pictures(page, f"{name.replace(' ', '-')}-{device}")
            if name == "overview" or device == "desktop":
                assert findings_in_light_and_dark(page) == []
            else:
                page.emulate_media(color_scheme="dark")
                assert findings(page, only=_RULES_OF_PLACES) == []
            page.evaluate(_OPEN_TABLES, True)
            assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
            page.evaluate(_OPEN_TABLES, False)
    # A browser notes that it was answered with 404.
    assert [text for text in window.complaints if "status of 404" not in text] == []


def test_failed_job_appears_on_the_overview_without_a_reload(
    desks: Desks, page: Page, phones: Phones, tmp_path: Path
) -> None:
    page.goto(f"{desks.url}/admin?range=hour")
    page.evaluate("window.isSamePage = true")
    reason = page.locator("#cause-person").get_by_role("link", name="More than one face")
    expect(reason).to_have_count(0)

    her = phones.join("Linh", "Female")
    upload(her, write_photo(tmp_path, "two", two_people()))

    expect(reason).to_be_visible(timeout=60_000)
    assert page.evaluate("window.isSamePage")
    reason.click()
    expect(page.get_by_role("table")).to_contain_text(phones.school)


def test_slider_says_what_a_threshold_means(desks: Desks, page: Page) -> None:
    page.goto(f"{desks.url}/admin/threshold")
    meaning = page.locator("#meaning")

    def is_told() -> bool:
        page.reload()
        return meaning.count() > 0

    wait_until(is_told, "the figures are made in the background")
    slider = page.get_by_label("Similarity from which two people match")
    slider.focus()
    slider.press("End")

    expect(meaning).to_contain_text("0.9: ")
    expect(page.get_by_role("link", name="Set 0.9…")).to_be_visible()


def test_menu_of_a_phone_opens_without_scripts(browser: Browser, desks: Desks) -> None:
    with browser.new_context(
        viewport={"width": WIDTHS["phone"], "height": _HEIGHT},
        java_script_enabled=False,
        storage_state=desks.context.storage_state(),
    ) as context:
        page = context.new_page()
        page.goto(f"{desks.url}/admin/people")
        link = page.get_by_role("link", name="People")
        expect(link).to_be_hidden()
        page.get_by_role("button", name="Menu").click()

        expect(link).to_be_visible()


def _note(message: ConsoleMessage, complaints: list[str]) -> None:
    if message.type == "error":
        complaints.append(message.text)


def _keep_pictures(page: Page, name: str) -> None:
    if folder := os.environ.get("AUTOMATCH_SCREENSHOTS"):
        Path(folder).mkdir(exist_ok=True)
        for scheme in _SCHEMES:
            page.emulate_media(color_scheme=scheme)
            path = Path(folder) / f"console-{name}-{scheme}.png"
            page.screenshot(path=path, full_page=True)


def test_live_part_follows_what_happens_and_says_when_it_is_old(desks: Desks, page: Page) -> None:
    # Time stands still but where the test lets it pass, however busy the machine is.
    page.clock.install(time=0)
    page.clock.pause_at(1)
    page.goto(f"{desks.url}/admin")
    freshness, paused = page.locator("#freshness"), page.get_by_text("The queue is paused")
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    expect(freshness).to_have_text("Live")
    rates = page.locator("#rates")
    rates.locator(".u-over").hover(position={"x": 2, "y": 50})
    expect(rates.locator(".u-legend")).to_contain_text("1.6 jobs a minute")

    with _paused_queue(desks):
        desks.conn.execute("update automatch.history set completed = 35")
        page.clock.run_for(3500)
        expect(paused).to_be_visible()

        def legend() -> str:
            # A chart that is drawn anew does not know where the mouse is.
            rates.locator(".u-over").hover(position={"x": 3, "y": 50})
            rates.locator(".u-over").hover(position={"x": 2, "y": 50})
            return rates.locator(".u-legend").inner_text()

        wait_until(lambda: "7 jobs a minute" in legend(), "the chart follows", within_s=60)
    page.clock.run_for(3500)
    expect(paused).to_be_hidden()

    # Until just after the third refresh: what comes next is six seconds after its failure.
    page.route("**/admin*", lambda route: route.abort())
    page.clock.run_for(2010)
    expect(freshness).to_contain_text("Not updated since")
    page.unroute("**/admin*")
    asked.clear()
    page.clock.run_for(5000)
    assert asked == []
    page.clock.run_for(4000)
    expect(freshness).to_have_text("Live")

    page.evaluate("Object.defineProperty(document, 'hidden', { get: () => true })")
    asked.clear()
    page.clock.run_for(30_000)
    assert asked == []


def test_refresh_leaves_what_is_typed(desks: Desks, page: Page) -> None:
    page.clock.install()
    page.goto(f"{desks.url}/admin/jobs")
    school = page.get_by_label("Pause one school")
    school.fill("UIT")
    school.blur()

    with _paused_queue(desks):
        page.clock.run_for(3500)
        expect(page.get_by_text("The queue is paused")).to_be_visible()
    expect(school).to_have_value("UIT")


@contextmanager
def _paused_queue(desks: Desks) -> Iterator[None]:
    desks.conn.execute("select public.pause_match_jobs(null, 'me')")
    try:
        yield
    finally:
        desks.conn.execute("select public.resume_match_jobs(null, 'me')")
