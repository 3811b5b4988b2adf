"""The words for few matches: the likeliest reason, and no number that tells of somebody."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, datetime
from uuid import UUID

import pytest

from automatch.model.jobs import Job, JobStatus
from automatch.model.matches import MatchPool
from automatch.search.explain import explain_few_matches, list_pool_counts
from automatch.web.photos.own_photos import JobItem, render_job
from automatch.web.templating import build_templates

NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)
POOL = MatchPool(school=120, other_gender=60, findable=50, hidden=0, threshold=0.5)
JOB = Job(
    id=UUID(int=1),
    face_id=UUID(int=2),
    status=JobStatus.COMPLETED,
    attempts=1,
    max_attempts=5,
    error_code=None,
    error_message=None,
    created_at=NOON,
    started_at=NOON,
    completed_at=NOON,
    match_count=0,
    timings={},
)


def test_in_a_small_school_the_reason_is_that_there_are_few_people():
    sentence = explain_few_matches(replace(POOL, findable=0), 0)

    assert sentence.startswith("So far, fewer than 10 people at your school could match")


@pytest.mark.parametrize(
    ("count", "begins"),
    [
        (0, "None of the 50 or more people who could match with you scored 50% or more."),
        (2, "Everyone else scored below 50%."),
    ],
)
def test_otherwise_it_is_that_nobody_else_is_alike_enough(count, begins):
    assert explain_few_matches(POOL, count).startswith(begins)


def test_counts_say_fewer_than_10_for_0_and_omit_no_hidden_people():
    counts = dict(list_pool_counts(replace(POOL, findable=0)))

    assert counts["Who could match with you"] == "fewer than 10"
    assert counts["People at your school"] == "120 or more"
    assert "Hidden by you" not in counts
    assert dict(list_pool_counts(replace(POOL, hidden=2)))["Hidden by you"] == "2"


@pytest.mark.parametrize(
    ("change", "asks"),
    [
        ({"match_count": 0}, "Why none?"),
        ({"match_count": 2}, None),
        ({"status": JobStatus.PENDING, "match_count": None, "completed_at": None}, None),
        ({"status": JobStatus.FAILED, "match_count": None, "error_code": "no_face"}, None),
    ],
)
def test_photo_without_matches_says_why(change, asks):
    html = render_job(build_templates(), JobItem.from_job(replace(JOB, **change), POOL))

    assert ("<dl>" in html) == (asks is not None)
    assert (asks or "") in html
    assert re.sub("<[^>]*>", "", html).count("50 or more people") == (asks is not None)


def test_photo_without_counts_says_what_happens_next():
    item = JobItem.from_job(JOB)

    assert item.detail == "We'll check everyone new who joins."
    assert "<dl>" not in render_job(build_templates(), item)
