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
        for name in ("late", "early", "confirmed", "imported"):
            owner.execute("select auth.sign_up(%s, 'a hash', '{}')", [f"{name}@example.org"])
        owner.execute("select automatch.import_account('imported@example.org')")
        owner.execute(
            "select auth.use_one_time_token('\\x01', 'sign_up') from"
            " auth.create_one_time_token('confirmed@example.org', 'sign_up', '\\x01', '1 hour')"
        )
        owner.execute(
            "update auth.users set confirm_by = now() - interval '1 s'"
            " where confirm_by is not null and email <> 'early@example.org'"
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
                cases_days=1,
                case_texts_days=1,
            )
            for _ in range(3)
        ]

    with connect(database.owner) as owner:
        left = owner.execute("select email from public.profiles order by 1").fetchall()

    assert counts == [2001, 500, 0]
    assert left == [("confirmed@example.org",), ("early@example.org",), ("imported@example.org",)]
