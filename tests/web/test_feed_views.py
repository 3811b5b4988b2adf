"""The feed: its cards, the person's own photos, and older pages."""

from __future__ import annotations

import re
from datetime import timedelta
from html import unescape
from typing import Any

import pytest
from jinja2 import Environment

from automatch.errors.photo import NoFaceError
from automatch.model.cases import CaseState
from automatch.model.faces import Face
from automatch.model.jobs import JobStatus
from automatch.web.feed_views import COVERED_FACES, Card, render_card, render_job
from automatch.web.report_views import list_notices
from automatch.web.templating import (
    build_templates,
    render_page,
)
from tests.support.pages import (
    A_FACE,
    HOSTILE,
    NOON,
    a_card,
    a_case,
    a_feed_page,
    a_job,
    an_entry,
    an_id,
    text_of,
)


@pytest.fixture(scope="module")
def templates() -> Environment:
    return build_templates()


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


def test_card_does_not_say_how_alike_two_people_at_the_top_are(templates: Environment) -> None:
    assert "95% or more alike" in text_of(render_card(templates, a_card(similarity=0.95)))


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
        ({"status": JobStatus.FAILED, "error_code": "face_blurred"}, "This photo cannot be used"),
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
    ("code", "headline", "has_link"),
    [
        ("another_person", "Waiting for a look", False),
        ("photo_in_review", "Waiting for a look", False),
        ("challenge_needed", "Is it you?", True),
        ("photo_refused", "This photo cannot be used", False),
    ],
)
def test_photo_that_waits_says_so_calmly_and_is_shown(
    templates: Environment, code: str, headline: str, has_link: bool
) -> None:
    job = a_job(status=JobStatus.FAILED, error_code=code, error_message="Why.", match_count=None)
    html = render_job(templates, job)

    assert headline in text_of(html)
    assert "Why." in text_of(html)
    assert (f"/photos/{job.face_id}/challenge" in html) == has_link
    assert (job.css_class == "held") == (code != "photo_refused") == (job.thumbnail is not None)


@pytest.mark.parametrize(
    "code", ["decode_timeout", "job_crashed", "worker_lost", "embedding_invalid"]
)
def test_photo_that_failed_for_good_through_our_fault_says_what_to_do(
    templates: Environment, code: str
) -> None:
    job = a_job(status=JobStatus.FAILED, error_code=code, error_message="2 of 5", match_count=None)

    assert "on our side. Add the photo again later." in text_of(render_job(templates, job))


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.64, "0.6 s"), (9.96, "10 s"), (75, "75 s"), (119.6, "2 min"), (600, "10 min")],
)
def test_finished_job_says_how_long_it_took(seconds: float, text: str) -> None:
    job = a_job(completed_at=NOON + timedelta(seconds=seconds))

    assert job.detail == f"Matched in {text}. {COVERED_FACES}"


@pytest.mark.parametrize("status", JobStatus)
def test_only_a_photo_that_was_seen_has_a_thumbnail(
    templates: Environment, status: JobStatus
) -> None:
    html = render_job(templates, a_job(status=status))

    assert ("<img" in html) == (status is JobStatus.COMPLETED)


def test_photo_is_listed_once_with_or_without_its_job() -> None:
    page = a_feed_page(jobs=[a_job()], faces=[Face(an_id(4), NOON, "dlib", {}), A_FACE])

    assert page.faces_without_job == [A_FACE]


def test_feed_without_uploads_says_why_and_leads_to_the_profile(templates: Environment) -> None:
    page = a_feed_page(uploads_allowed=False, uploads_refused_reason="Give your consent first.")

    html = render_page(templates, page)

    assert "Give your consent first." in text_of(html)
    assert 'type="file"' not in html
    assert html.count('href="/onboarding"') == 2


def test_notice_says_in_whole_sentences_what_somebody_asked(templates: Environment) -> None:
    case = a_case(effect="hidden", state=CaseState.OPEN, decision=None)

    text = text_of(render_page(templates, a_feed_page(notices=list_notices([case]))))

    assert "Somebody asked whether this is you, and we're looking at it." in text
    assert "Nothing is deleted. Tell us your side" in text


def test_page_further_back_is_neither_live_nor_for_uploads(templates: Environment) -> None:
    html = render_page(templates, a_feed_page(is_newest=False, cards=[a_card()]))

    assert re.findall(r"/(\w+\.js)", html) == ["drop.js"]
    assert 'type="file"' not in html
