"""The person's own photos: what became of each, and what to do about it."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from jinja2 import Environment

from automatch.errors.photo import NoFaceError
from automatch.model.jobs import JobStatus
from automatch.web.own_photos import COVERED_FACES, render_job
from automatch.web.templating import build_templates
from tests.support.pages import NOON, a_job, text_of


@pytest.fixture(scope="module")
def templates() -> Environment:
    return build_templates()


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
