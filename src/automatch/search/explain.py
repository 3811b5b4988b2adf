"""Why a search found few people or none, in one sentence and in counts that identify nobody."""

from __future__ import annotations

from automatch.model.jobs import Job, JobStatus
from automatch.model.matches import MatchPool

FEW_MATCHES = 3
"""Fewer matches than this are explained."""
NEWCOMERS = "We'll check everyone new who joins."


def needs_explanation(job: Job) -> bool:
    """Return whether a completed job has so few matches that its person will ask why."""
    return job.status is JobStatus.COMPLETED and (job.match_count or 0) < FEW_MATCHES


def explain_few_matches(pool: MatchPool, match_count: int) -> str:
    """Return the most likely reason for few matches, and what happens next."""
    if not pool.findable:
        return f"So far, fewer than 10 people at your school could match with you. {NEWCOMERS}"
    threshold = f"{pool.threshold * 100:.0f}%"
    if match_count == 0:
        return (
            f"None of the {pool.findable} or more people who could match with you scored "
            f"{threshold} or more. {NEWCOMERS}"
        )
    return f"Everyone else scored below {threshold}. {NEWCOMERS}"


def list_pool_counts(pool: MatchPool) -> list[tuple[str, str]]:
    """Return the counts behind that sentence, each with a label."""
    counts = [
        ("People at your school", _roughly(pool.school)),
        ("Of the other gender", _roughly(pool.other_gender)),
        ("Who could match with you", _roughly(pool.findable)),
        ("Minimum similarity", f"{pool.threshold * 100:.0f}%"),
    ]
    if pool.hidden:
        counts.append(("Hidden by you", str(pool.hidden)))
    return counts


def _roughly(count: int) -> str:
    return f"{count} or more" if count else "fewer than 10"
