"""Why a search found few people or none, in one sentence and in counts that identify nobody."""

from __future__ import annotations

from automatch.language.catalogue import gettext as _
from automatch.language.catalogue import gettext_noop
from automatch.language.formats import as_number, as_percent
from automatch.model.jobs import Job, JobStatus
from automatch.model.matches import MatchPool

FEW_MATCHES = 3
"""Fewer matches than this are explained."""
NEWCOMERS = gettext_noop("We'll check everyone new who joins.")


def needs_explanation(job: Job) -> bool:
    """Return whether a completed job has so few matches that its person will ask why."""
    return job.status is JobStatus.COMPLETED and (job.match_count or 0) < FEW_MATCHES


def explain_few_matches(pool: MatchPool, match_count: int) -> str:
    """Return the most likely reason for few matches, and what happens next."""
    threshold = as_percent(round(pool.threshold * 100))
    if not pool.findable:
        why = _("So far, fewer than 10 people at your school could match with you.")
    elif match_count == 0:
        why = _(
            "None of the %(count)s or more people who could match with you scored "
            "%(threshold)s or more.",
            count=as_number(pool.findable),
            threshold=threshold,
        )
    else:
        why = _("Everyone else scored below %(threshold)s.", threshold=threshold)
    return f"{why} {_(NEWCOMERS)}"


def list_pool_counts(pool: MatchPool) -> list[tuple[str, str]]:
    """Return the counts behind that sentence, each with a label."""
    counts = [
        (_("People at your school"), _roughly(pool.school)),
        (_("Of the other gender"), _roughly(pool.other_gender)),
        (_("Who could match with you"), _roughly(pool.findable)),
        (_("Minimum similarity"), as_percent(round(pool.threshold * 100))),
    ]
    if pool.hidden:
        counts.append((_("Hidden by you"), as_number(pool.hidden)))
    return counts


def _roughly(count: int) -> str:
    return _("%(count)s or more", count=as_number(count)) if count else _("fewer than 10")
