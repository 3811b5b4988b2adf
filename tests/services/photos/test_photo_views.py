"""Views are recorded together, and once a day."""

from __future__ import annotations

import pytest

from automatch.services.photos.photo_views import PhotoViews
from automatch.settings.database import PoolSettings
from tests.support import build
from tests.support.build import connect
from tests.support.kept_pools import KeptDatabase

pytestmark = pytest.mark.anyio


def recorded(database):
    with connect(database.owner) as conn:
        return conn.execute(
            "select viewer_id, face_id, full_size from automatch.photo_views"
        ).fetchall()


async def test_views_are_recorded_once_whatever_the_number_of_looks(database) -> None:
    with connect(database.owner, autocommit=True) as conn:
        (she, her_face), (he, _) = build.a_pair(conn)
    async with KeptDatabase(database.api, PoolSettings(), name="test") as db:
        views = PhotoViews(db)
        for viewer in (he, she, he):
            views.note(viewer, her_face, "thumb")
        await views.flush()
        with connect(database.owner, autocommit=True) as conn:
            conn.execute("delete from automatch.photo_views")
        views.note(he, her_face, "thumb")
        await views.flush()
        assert recorded(database) == [], "it knows that it was recorded"
        views.note(he, her_face, "full")
        await views.close()

    assert recorded(database) == [(he, her_face, True)]
