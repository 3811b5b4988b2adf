"""What people who wait are told in place of "No look-alikes yet"."""

from __future__ import annotations

from dataclasses import replace

import pytest

from automatch.model.jobs import JobStatus
from automatch.model.schools import Membership
from automatch.web.photos.own_photos import render_job
from automatch.web.photos.waiting_views import find_waiting
from automatch.web.protection.report_views import HiddenNotice
from automatch.web.templating import build_templates, render_page
from tests.support.pages import NOON, a_feed_page, a_job, text_of

MEMBER = Membership(
    school="UIT",
    is_open=False,
    admitted=True,
    proof="email",
    domains=[],
    settles_at=None,
    requested_at=None,
    message=None,
    refused_at=None,
    reason=None,
)
NEWCOMER = replace(MEMBER, admitted=False, proof=None)


@pytest.mark.parametrize(
    ("membership", "effect", "kind", "title", "next_step"),
    [
        (NEWCOMER, None, "proof", "Show that you belong to UIT", "Show it now"),
        (
            replace(NEWCOMER, requested_at=NOON),
            *(None, "answer", "Waiting for an answer", "See your request"),
        ),
        (
            replace(NEWCOMER, requested_at=NOON, refused_at=NOON),
            *(None, "proof", "Show that you belong to UIT", "Show it now"),
        ),
        (
            replace(MEMBER, admitted=False, settles_at=NOON),
            *(None, "change", "Waiting for your change", "See until when"),
        ),
        (
            replace(MEMBER, admitted=False),
            *(None, "frozen", "Your account is frozen", "Tell us your side"),
        ),
        (NEWCOMER, "frozen", "frozen", "Your account is frozen", "Tell us your side"),
        (MEMBER, "hidden", "hidden", "Your photo is hidden", "Tell us your side"),
    ],
)
def test_who_waits_is_told_what_for_and_the_next_step(
    membership: Membership, effect: str | None, kind: str, title: str, next_step: str
) -> None:
    notices = [HiddenNotice(effect, "", is_decided=False)] if effect else []

    waiting = find_waiting(membership, notices)

    assert waiting is not None
    assert waiting.kind == kind
    page = render_page(build_templates(), a_feed_page(waiting=waiting))
    assert title in text_of(page)
    assert next_step in text_of(page)
    assert "No look-alikes yet" not in text_of(page)
    job = a_job(match_count=0, waiting=waiting)
    assert (job.headline, job.detail) == (waiting.headline, waiting.text)
    assert "No look-alikes yet" not in render_job(build_templates(), job)


def test_who_takes_part_is_told_of_look_alikes() -> None:
    assert find_waiting(MEMBER) is None
    page = render_page(build_templates(), a_feed_page(jobs=[a_job(match_count=0)]))

    assert "No look-alikes yet" in text_of(page)


def test_photo_that_has_matches_or_no_end_yet_says_that() -> None:
    waiting = find_waiting(NEWCOMER)

    assert a_job(match_count=1, waiting=waiting).headline == "1 look-alike found"
    assert a_job(status=JobStatus.PROCESSING, waiting=waiting).headline == "Looking for look-alikes"
