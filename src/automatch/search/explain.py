"""Why a photo found few people or none, in plain words and in counts that tell of nobody."""

from __future__ import annotations

from automatch.model.jobs import Job, JobStatus
from automatch.model.matches import MatchPool

FEW = 3
"""Fewer matches than this want a reason."""
NEWCOMERS = "New people are compared with it as they join."


def needs_explanation(job: Job) -> bool:
    """Tell whether a job ended with so few matches that its person will ask why."""
    return job.status is JobStatus.COMPLETED and (job.match_count or 0) < FEW


def explain_few_matches(pool: MatchPool, match_count: int) -> str:
    """Return the likeliest reason for few matches, and what happens next."""
    if not pool.findable:
        return f"Fewer than 10 people of your school can be found for you so far. {NEWCOMERS}"
    alike = f"{pool.threshold * 100:.0f} %"
    who = f"the {pool.findable} or more people who can be found for you"
    if match_count == 0:
        return f"None of {who} is {alike} alike or more. {NEWCOMERS}"
    return f"Of {who}, the others are less than {alike} alike. {NEWCOMERS}"


def list_pool_counts(pool: MatchPool) -> list[tuple[str, str]]:
    """Return the counts behind it, each with what it counts."""
    facts = [
        ("People of your school", _roughly(pool.school)),
        ("Of the other gender", _roughly(pool.other_gender)),
        ("With a photo, and to be found for you", _roughly(pool.findable)),
        ("Alike enough from", f"{pool.threshold * 100:.0f} %"),
    ]
    if pool.hidden:
        facts.append(("Hidden by you", str(pool.hidden)))
    return facts


def _roughly(count: int) -> str:
    return f"{count} or more" if count else "fewer than 10"
