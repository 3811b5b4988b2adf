"""The pages: what is escaped, what every template needs, and what a card and a photo's item say."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from html import unescape
from typing import TYPE_CHECKING
from uuid import UUID

import pytest
from jinja2 import UndefinedError

from automatch.errors.photo import NoFaceError
from automatch.model.faces import Face
from automatch.model.jobs import Job, JobStatus
from automatch.model.matches import FeedEntry
from automatch.model.people import Consent, Gender, Profile
from automatch.web.account_views import (
    OnboardingPage,
    ProfileForm,
    SignInPage,
    SignUpPage,
)
from automatch.web.feed_views import Card, FeedPage, JobItem, render_card, render_job
from automatch.web.templating import (
    STATIC_FOLDER,
    ErrorPage,
    Page,
    Problem,
    build_templates,
    render_page,
)

if TYPE_CHECKING:
    from typing import Any

    from jinja2 import Environment

NOON = datetime(2026, 5, 4, 12, tzinfo=UTC)
HOSTILE = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)>"


def an_id(number: int) -> UUID:
    return UUID(int=number)


def an_entry(**values: Any) -> FeedEntry:
    entry = FeedEntry(
        position=7,
        profile_id=an_id(1),
        match_id=an_id(2),
        name="Linh T.",
        school="North",
        face_id=an_id(3),
        own_face_id=an_id(4),
        similarity=0.85,
        simulated=False,
        created_at=NOON,
    )
    return replace(entry, **values)


def a_card(*, is_new: bool = False, **values: Any) -> Card:
    card = Card.from_entry(an_entry(**values), is_new=is_new)
    assert card is not None
    return card


def a_job(**values: Any) -> JobItem:
    job = Job(
        id=an_id(10),
        face_id=an_id(4),
        status=JobStatus.COMPLETED,
        attempts=1,
        max_attempts=5,
        error_code=None,
        error_message=None,
        created_at=NOON,
        started_at=NOON,
        completed_at=NOON + timedelta(milliseconds=640),
        match_count=3,
        timings={},
    )
    return JobItem.from_job(replace(job, **values))


def a_profile(**values: Any) -> Profile:
    profile = Profile(
        id=an_id(20),
        email="an@example.org",
        name="An",
        school="North",
        gender=Gender.FEMALE,
        birth_date=date(2000, 2, 29),
        profile_type="user",
        discoverable=True,
    )
    return replace(profile, **values)


def a_consent(*, granted: bool) -> Consent:
    return Consent("2026-11", f"I agree. {HOSTILE}", granted, NOON if granted else None)


def an_onboarding_page(*, granted: bool = False, **values: Any) -> OnboardingPage:
    page = OnboardingPage(
        form=ProfileForm.from_profile(a_profile(name=HOSTILE)),
        consent=a_consent(granted=granted),
        latest_birth_date=date(2008, 5, 4),
        schools=["North", HOSTILE],
    )
    return replace(page, **values)


def a_feed_page(**values: Any) -> FeedPage:
    page = FeedPage(
        profile=a_profile(school=HOSTILE),
        faces=[],
        jobs=[],
        cards=[],
        last_position=0,
        older_cursor=None,
        uploads_allowed=True,
        max_upload_mb=15,
    )
    return replace(page, **values)


A_FACE = Face(an_id(5), NOON, "dlib", {})
SOME_PROBLEM = Problem("input_invalid", f"Wrong. {HOSTILE}")

PAGES: dict[str, Page] = {
    "sign-in": SignInPage(email=HOSTILE),
    "sign-in refused": SignInPage(problem=SOME_PROBLEM),
    "sign-up": SignUpPage(),
    "sign-up refused": SignUpPage(problem=Problem("password_weak", HOSTILE, "password")),
    "onboarding": an_onboarding_page(first_time=True),
    "onboarding refused": an_onboarding_page(problem=SOME_PROBLEM),
    "profile": an_onboarding_page(granted=True, saved=True),
    "feed without photos": a_feed_page(),
    "feed": a_feed_page(
        cards=[a_card(name=HOSTILE), a_card(simulated=True, is_new=True)],
        jobs=[a_job(), a_job(status=JobStatus.PENDING, completed_at=None)],
        faces=[A_FACE],
        older_cursor=7,
    ),
    "feed refused": a_feed_page(problem=SOME_PROBLEM),
    "feed without uploads": a_feed_page(uploads_allowed=False, uploads_refused_reason=HOSTILE),
    "feed further back": a_feed_page(is_newest=False),
    "error": ErrorPage(title=HOSTILE, status=404, message=HOSTILE),
}


@pytest.fixture(scope="module")
def templates() -> Environment:
    return build_templates()


def text_of(html: str) -> str:
    return " ".join(unescape(re.sub(r"<[^>]*>", " ", html)).split())


@pytest.mark.parametrize("name", PAGES)
def test_every_page_renders_whole_and_escaped(templates: Environment, name: str) -> None:
    html = render_page(templates, PAGES[name])

    assert html.startswith("<!doctype html>")
    assert html.count("<h1>") == 1
    assert "</html>" in html
    assert "alert(1)</script>" not in html
    assert "<img src=x" not in html


@pytest.mark.parametrize("name", PAGES)
def test_no_page_has_inline_style_or_script(templates: Environment, name: str) -> None:
    html = render_page(templates, PAGES[name])

    assert not re.search(r"<[^>]*\sstyle=|<style|<[^>]*\son\w+=\"|<script(?![^>]*\ssrc=)", html)


@pytest.mark.parametrize("name", PAGES)
def test_every_id_a_page_refers_to_is_there_once(templates: Environment, name: str) -> None:
    if "cards" in type(PAGES[name]).__slots__:
        page = replace(PAGES[name], cards=[a_card()], jobs=[a_job()])
    else:
        page = PAGES[name]

    html = render_page(templates, page)

    ids = re.findall(r'\sid="([^"]*)"', html)
    references = re.findall(r'\s(?:for|aria-describedby|aria-labelledby)="([^"]*)"', html)
    assert len(ids) == len(set(ids))
    assert {id_ for reference in references for id_ in reference.split()} <= set(ids)


@pytest.mark.parametrize("name", PAGES)
def test_every_static_file_a_page_names_exists(templates: Environment, name: str) -> None:
    addresses = re.findall(r'"/static/[0-9a-f]{12}/([^"]+)"', render_page(templates, PAGES[name]))

    assert "app.css" in addresses
    assert all((STATIC_FOLDER / address).is_file() for address in addresses)


def test_a_name_that_a_template_does_not_have_is_an_error(templates: Environment) -> None:
    with pytest.raises(UndefinedError):
        templates.from_string("{{ page.nothing }}").render(page=SignInPage())


def test_hostile_name_stays_text_on_a_card(templates: Environment) -> None:
    html = render_card(templates, a_card(name=HOSTILE))

    assert "<script" not in html
    assert "<img src=x" not in html
    assert HOSTILE in unescape(html)


def test_card_says_the_similarity_as_rounded_percent_in_text_and_meter(
    templates: Environment,
) -> None:
    html = render_card(templates, a_card(similarity=0.15000000000000002))

    assert "15% alike" in text_of(html)
    assert '<meter min="0" max="100" value="15">' in html
    assert 'data-announce="Linh T., 15%"' in html


def test_only_a_simulated_person_is_marked_as_such(templates: Environment) -> None:
    assert "Simulated" in text_of(render_card(templates, a_card(simulated=True)))
    assert "Simulated" not in text_of(render_card(templates, a_card()))


def test_entry_whose_match_is_gone_has_no_card() -> None:
    assert Card.from_entry(an_entry(match_id=None)) is None


def test_page_and_stream_show_the_same_card_and_job(templates: Environment) -> None:
    card, job = a_card(), a_job()

    html = render_page(templates, a_feed_page(cards=[card], jobs=[job]))

    assert render_card(templates, card) in html
    assert render_job(templates, job) in html


@pytest.mark.parametrize(
    ("values", "headline"),
    [
        ({"status": JobStatus.PENDING, "attempts": 0}, "Waiting for its turn"),
        ({"status": JobStatus.PENDING, "attempts": 2}, "Trying again soon"),
        ({"status": JobStatus.PROCESSING}, "Looking for look-alikes"),
        ({"match_count": 0}, "No look-alikes yet"),
        ({"match_count": 1}, "1 look-alike found"),
        ({"match_count": 20}, "20 look-alikes found"),
        ({"status": JobStatus.FAILED, "error_code": "no_face"}, "This photo cannot be used"),
        ({"status": JobStatus.FAILED, "error_code": "job_crashed"}, "This photo was not matched"),
    ],
)
def test_job_says_where_it_is(templates: Environment, values: Any, headline: str) -> None:
    job = a_job(**values)

    assert headline in text_of(render_job(templates, job))
    assert bool(job.announcement) == job.status.is_final


def test_refused_photo_says_why_and_what_to_do(templates: Environment) -> None:
    error = NoFaceError()
    job = a_job(
        status=JobStatus.FAILED,
        error_code=error.code,
        error_message=error.message,
        match_count=None,
    )

    assert error.message in text_of(render_job(templates, job))
    assert error.message in job.announcement


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.64, "0.6 s"), (9.96, "10 s"), (75, "75 s"), (119.6, "2 min"), (600, "10 min")],
)
def test_finished_job_says_how_long_it_took(seconds: float, text: str) -> None:
    job = a_job(completed_at=NOON + timedelta(seconds=seconds))

    assert job.detail == f"Matched in {text}"


@pytest.mark.parametrize("status", JobStatus)
def test_only_a_photo_that_was_seen_has_a_thumbnail(
    templates: Environment, status: JobStatus
) -> None:
    html = render_job(templates, a_job(status=status))

    assert ("<img" in html) == (status is JobStatus.COMPLETED)


def test_photo_is_listed_once_with_or_without_its_job() -> None:
    page = a_feed_page(jobs=[a_job()], faces=[Face(an_id(4), NOON, "dlib", {}), A_FACE])

    assert page.faces_without_job == [A_FACE]


def test_field_error_is_tied_to_its_field(templates: Environment) -> None:
    problem = Problem("password_weak", "Choose a longer one.", "password")

    html = render_page(templates, SignUpPage(problem=problem))

    field = re.search(r'<input id="password"[^>]*>', html)
    assert field is not None
    assert 'aria-describedby="password-hint password-error"' in field[0]
    assert 'aria-invalid="true"' in field[0]
    assert '<p class="field-error" id="password-error">Choose a longer one.</p>' in html


def test_consent_is_never_ticked_beforehand(templates: Environment) -> None:
    html = render_page(templates, an_onboarding_page())

    box = re.search(r'<input type="checkbox"[^>]*>', html)
    assert box is not None
    assert 'value="2026-11"' in box[0]
    assert "checked" not in box[0]
    assert "/consent/withdraw" not in html


def test_given_consent_can_be_withdrawn_and_not_given_again(templates: Environment) -> None:
    html = render_page(templates, an_onboarding_page(granted=True))

    assert 'action="/consent/withdraw"' in html
    assert 'name="consent"' not in html


def test_feed_without_uploads_says_why_and_leads_to_the_profile(templates: Environment) -> None:
    page = a_feed_page(uploads_allowed=False, uploads_refused_reason="Give your consent first.")

    html = render_page(templates, page)

    assert "Give your consent first." in text_of(html)
    assert 'type="file"' not in html
    assert html.count('href="/onboarding"') == 2


def test_page_further_back_is_neither_live_nor_for_uploads(templates: Environment) -> None:
    html = render_page(templates, a_feed_page(is_newest=False, cards=[a_card()]))

    assert "<script" not in html
    assert 'type="file"' not in html


def test_static_files_stay_small() -> None:
    assert (STATIC_FOLDER / "app.css").stat().st_size < 20_000
    assert len((STATIC_FOLDER / "feed.js").read_text().splitlines()) < 100
    assert len((STATIC_FOLDER / "upload.js").read_text().splitlines()) < 120
