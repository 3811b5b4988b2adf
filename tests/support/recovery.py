"""How soon the jobs of a killed worker were pending and claimed again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
from uuid import UUID

from tests.support.invariants import Change


@dataclass(frozen=True)
class Recovery:
    """Seconds from the end of a worker, one number for each job it held, shortest first."""

    requeued_s: Sequence[float]
    """Until the job was pending again."""
    claimed_again_s: Sequence[float]
    """Until another worker claimed it; this depends on how many jobs are pending before it."""

    @property
    def orphans(self) -> int:
        return len(self.requeued_s)

    def __add__(self, other: Recovery) -> Recovery:
        return Recovery(
            sorted([*self.requeued_s, *other.requeued_s]),
            sorted([*self.claimed_again_s, *other.claimed_again_s]),
        )


def percentile(ordered: Sequence[float], share: float) -> float:
    """Return the value that *share* of the values do not exceed."""
    return ordered[min(int(share * len(ordered)), len(ordered) - 1)]


def measure_recovery(changes: Sequence[Change], died_at: Mapping[UUID, datetime]) -> Recovery:
    """Find in a journal when the jobs that killed workers held were pending and claimed again."""
    requeued, claimed_again = [], []
    for _, group in groupby(changes, lambda change: change.job_id):
        lost_at = claimed_at = None
        for change in group:
            if change.name == "claimed":
                if lost_at is not None:
                    claimed_again.append((change.at - lost_at).total_seconds())
                lost_at, claimed_at = None, change.at
            elif change.name in {"expired", "exhausted"} and change.old_worker_id in died_at:
                assert claimed_at is not None
                # Postgres still executes what the worker had sent, even a claim.
                lost_at = max(died_at[change.old_worker_id], claimed_at)
                requeued.append((change.at - lost_at).total_seconds())
    return Recovery(sorted(requeued), sorted(claimed_again))
