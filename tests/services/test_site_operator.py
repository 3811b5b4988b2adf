"""Who runs this is read every few seconds, and known while the database is away."""

from __future__ import annotations

import pytest

from automatch.model.notices import Operator
from automatch.services.site_operator import READ_EVERY_S, SiteOperator
from automatch.settings.database import PoolSettings
from automatch.store.database import Database as Pool
from tests.support.build import connect
from tests.support.postgres import Database

pytestmark = pytest.mark.anyio


async def test_change_is_seen_after_some_seconds_and_kept_in_an_outage(database: Database) -> None:
    now = 0.0
    async with Pool(database.api, PoolSettings(), name="test") as db:
        site = SiteOperator(db, lambda: now)
        assert await site.load() == Operator()
        with connect(database.owner) as conn:
            conn.execute("select public.set_operator('UIT Union', null, null, 'test')")

        assert await site.load() == Operator()
        now += READ_EVERY_S
        assert await site.load() == Operator("UIT Union")

    # The pool is closed.
    now += READ_EVERY_S
    assert await site.load() == Operator("UIT Union")
    assert await SiteOperator(db).load() is None
