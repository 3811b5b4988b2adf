"""The page of one match, with the rights of its person."""

from __future__ import annotations

import pytest

from automatch.model.matches import FeedOrder
from automatch.model.people import Claims, Role
from automatch.services.matching.matches import load_match
from automatch.settings.database import PoolSettings
from automatch.store.matching import feed
from tests.support import build
from tests.support.build import connect, like
from tests.support.kept_pools import KeptDatabase

pytestmark = pytest.mark.anyio


async def test_match_is_seen_by_opening_it_and_those_beside_it_are_not(database) -> None:
    with connect(database.owner, autocommit=True) as conn:
        she = build.a_profile(conn)
        build.a_face(conn, she, build.unit(0))
        for number in range(3):
            he = build.a_profile(conn, gender="male", name=f"{number}")
            build.a_match(conn, build.a_face(conn, he, like(build.unit(0), 0.8, seed=number)))
    claims = Claims(Role.AUTHENTICATED, she)
    async with KeptDatabase(database.api, PoolSettings(), name="test") as db:
        async with db.as_user(claims) as conn:
            newest_first = await feed.list_matches(conn, FeedOrder(), limit=10)
        before, opened, after = (entry.match_id for entry in newest_first)
        assert opened is not None
        view = await load_match(db, claims, opened, FeedOrder())
        assert view is not None
        async with db.as_user(claims) as conn:
            new = await feed.list_new_matches(conn)

    assert (view.previous_id, view.match.match_id, view.next_id) == (before, opened, after)
    assert view.new_count == 2
    assert set(new) == {before, after}
