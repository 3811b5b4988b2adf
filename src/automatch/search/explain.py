"""Why a search found few people or none, in one sentence and in counts that identify nobody."""

from __future__ import annotations

from automatch.model.jobs import Job, JobStatus
from automatch.model.matches import MatchPool

FEW_MATCHES = 3
"""Fewer matches than this are explained."""
NEWCOMERS = "New people are compared with it as they join."


def needs_explanation(job: Job) -> bool:
    """Return whether a completed job has so few matches that its person will ask why."""
    return job.status is JobStatus.COMPLETED and (job.match_count or 0) < FEW_MATCHES


def explain_few_matches(pool: MatchPool, match_count: int) -> str:
    """Return the most likely reason for few matches, and what happens next."""
    if not pool.findable:
        return f"Fewer than 10 people of your school can be found for you so far. {NEWCOMERS}"
    threshold = f"{pool.threshold * 100:.0f} %"
    people = f"the {pool.findable} or more people who can be found for you"
    if match_count == 0:
        return f"None of {people} is {threshold} alike or more. {NEWCOMERS}"
    return f"Of {people}, the others are less than {threshold} alike. {NEWCOMERS}"


def list_pool_counts(pool: MatchPool) -> list[tuple[str, str]]:
    """Return the counts behind that sentence, each with a label."""
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
