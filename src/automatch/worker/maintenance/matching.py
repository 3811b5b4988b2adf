"""Maintenance of matches: reruns, second accounts, scores after a change, searches that miss."""

from __future__ import annotations

import structlog

from automatch.store.database import Connection, Database
from automatch.store.matching import model_changes, scales, search, thresholds
from automatch.store.people import schools
from automatch.store.protection import duplicates
from automatch.worker.maintenance.batches import run_in_batches

_AUDIT_DAYS = 30
_MIN_RECALL = 0.999

log = structlog.get_logger(__name__)


class MatchingTasks:
    """What is due for matches; a task that returns False has found nothing to do."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def enqueue_reruns(self) -> bool:
        """Enqueue some photos of a rerun for everybody, while the queue is short."""
        async with self._db.connection() as conn:
            count = await thresholds.enqueue_reruns(conn)
        if count:
            log.info("photos queued for a rerun", count=count)
        return count > 0

    async def detect_duplicates(self) -> bool:
        """Compare new photos with all of their school, while no job is pending."""
        flagged = 0

        async def compare(conn: Connection) -> int:
            nonlocal flagged
            checked, new = await duplicates.detect_duplicates(conn)
            flagged += new
            return checked

        checked = await run_in_batches(self._db, compare)
        if flagged:
            log.info(
                "accounts that look like one person; see `automatch duplicates`", pairs=flagged
            )
        return checked > 0

    async def settle_changes(self) -> bool:
        """Let people in again whose change of school or gender has settled."""
        count = await run_in_batches(self._db, schools.settle_changes)
        if count:
            log.info("changes of people settled", count=count)
        return count > 0

    async def rescore_matches(self) -> None:
        """Finish scoring matches with a new scale if the command that started it was stopped."""
        total = await run_in_batches(self._db, scales.rescore_matches)
        if total:
            log.info("matches rescored", count=total)

    async def rescore_for_model(self) -> bool:
        """Rescore matches after a model change; delete those that only the old model made."""
        rechecked = await run_in_batches(self._db, model_changes.recheck_duplicates)
        renewed = await run_in_batches(self._db, model_changes.rescore_matches_for_model)
        dropped = await run_in_batches(self._db, model_changes.delete_unrescored_matches)
        if renewed or dropped:
            log.info("matches rescored for the model", checked=renewed, deleted=dropped)
        return rechecked + renewed + dropped > 0

    async def check_recall(self) -> None:
        """Warn when searches miss people, and delete old audits."""
        async with self._db.connection() as conn:
            stats = await search.read_recall(conn)
            await search.clean_up_audits(conn, _AUDIT_DAYS)
        if stats.recall is not None and stats.recall < _MIN_RECALL:
            log.warning(
                "searches miss people; see `automatch tune`",
                recall=round(stats.recall, 5),
                audits=stats.audits,
                short_answers=stats.short_answers,
            )
