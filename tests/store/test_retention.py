"""The deletion of rows that are kept for a time only."""

from __future__ import annotations

import pytest

from automatch.settings.database import PoolSettings
from automatch.store import retention
from automatch.store.database import Database
from tests.support import postgres
from tests.support.build import connect

pytestmark = pytest.mark.anyio

_DAY_S = 86400


async def test_expired_rows_are_deleted_in_steps(database: postgres.Database) -> None:
    with connect(database.owner) as owner:
        owner.execute(
            "insert into automatch.audit_log (recorded_at, actor, action)"
            " select now() - interval '2 days', '', '' from generate_series(1, 2500)"
        )
    async with (
        Database(database.worker, PoolSettings(), name="test") as db,
        db.connection() as conn,
    ):
        counts = [
            await retention.delete_expired_rows(
                conn,
                sessions_s=_DAY_S,
                audit_log_days=1,
                cron_runs_days=1,
                net_responses_s=_DAY_S,
                mails_s=_DAY_S,
                photo_views_days=1,
            )
            for _ in range(3)
        ]

    assert counts == [2000, 500, 0]
