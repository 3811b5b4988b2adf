"""The deletion of rows that are kept for a time only."""

from __future__ import annotations

import pytest

from automatch.settings.database import PoolSettings
from automatch.store.database import Database
from automatch.store.protection import retention
from tests.support import build, postgres
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


async def test_old_matches_leave_both_feeds_and_younger_ones_stay(database):
    with connect(database.owner, autocommit=True) as owner:
        people = [build.a_pair(owner, seed=seed) for seed in (0, 1)]
        for (_, face), _ in people:
            build.a_match(owner, face)
        (she, her_face), (he, _) = people[0]
        owner.execute(
            "update public.matches set created_at = now() - interval '40 days'"
            " where %s in (face_a_id, face_b_id)",
            [her_face],
        )
    async with (
        Database(database.worker, PoolSettings(), name="test") as db,
        db.connection() as conn,
    ):
        assert [await retention.delete_old_matches(conn, 30) for _ in range(2)] == [1, 0]
    with connect(database.owner) as owner:
        shown = owner.execute(
            "select profile_id from automatch.feed_entries where match_id is not null"
        )

        assert {person for (person,) in shown.fetchall()}.isdisjoint({she, he})
        assert owner.execute("select count(*) from public.matches").fetchone() == (1,)
