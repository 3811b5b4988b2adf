"""Why a feed is empty: each reason in its own words, with its own next step."""

from __future__ import annotations

from typing import Any

import pytest

from automatch.model.jobs import JobStatus
from automatch.model.matches import MatchPool
from automatch.web.matching.empty_views import find_empty, render_empty
from automatch.web.photos.waiting_views import Waiting
from automatch.web.templating import build_templates
from tests.support.pages import a_job

POOL = MatchPool(school=100, other_gender=50, findable=20, hidden=0, threshold=0.7)
FEW = MatchPool(school=0, other_gender=0, findable=0, hidden=0, threshold=0.7)
DONE = a_job(status=JobStatus.COMPLETED, match_count=0)
PENDING = a_job(status=JobStatus.PENDING)
REFUSED = a_job(status=JobStatus.FAILED, error_code="no_face", error_message="No face was found.")
HELD = a_job(status=JobStatus.FAILED, error_code="photo_in_review")
FROZEN = Waiting("frozen", "Not looking", "Your account is frozen", "Why.", "/reports", "Tell us")
PROOF = Waiting("proof", "Waiting", "Show that you belong", "Why.", "/profile", "Show it")
CASES: list[tuple[str, dict[str, Any]]] = [
    ("nobody", {}),
    ("nobody", {"jobs": []}),
    ("first_here", {"pool": FEW}),
    ("no_photo", {"jobs": [], "has_photo": False}),
    ("searching", {"jobs": [PENDING], "has_photo": False}),
    ("queue_paused", {"jobs": [PENDING], "is_paused": True}),
    ("nobody", {"is_paused": True}),
    ("refused", {"jobs": [REFUSED], "has_photo": False}),
    ("nobody", {"jobs": [REFUSED, DONE]}),
    ("photo_waiting", {"jobs": [HELD], "has_photo": False}),
    ("paused", {"discoverable": False}),
    ("paused", {"waiting": FROZEN, "jobs": [PENDING]}),
    ("photo_waiting", {"waiting": PROOF}),
    ("no_liked", {"show": "liked", "waiting": FROZEN}),
    ("all_seen", {"show": "new"}),
    ("no_earlier", {"is_newest": False}),
]


def empty(**changes: Any) -> Any:
    usual = {
        "show": "all",
        "is_newest": True,
        "jobs": [DONE],
        "has_photo": True,
        "discoverable": True,
        "is_paused": False,
        "pool": POOL,
        "waiting": None,
    }
    return find_empty(**(usual | changes))


@pytest.mark.parametrize(("drawing", "changes"), CASES)
def test_reason_has_its_picture(drawing: str, changes: dict[str, Any]) -> None:
    found = empty(**changes)

    assert found.drawing == drawing
    html = render_empty(build_templates(), found)
    assert "<svg" in html
    assert found.title in html.replace("&#39;", "'")


def test_no_two_reasons_share_their_words() -> None:
    found = {empty(**changes) for _, changes in CASES}

    assert len({each.title for each in found}) == len(found)


def test_who_hides_is_not_told_that_nobody_looks_like_them() -> None:
    hidden = empty(discoverable=False)

    assert "look-alike" not in hidden.title + hidden.text
    assert hidden.link == ("/profile", "Go to your profile")
