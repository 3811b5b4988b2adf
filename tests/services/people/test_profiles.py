"""What a person is shown of themselves, with the rights of that person."""

from __future__ import annotations

import pytest

from automatch.model.people import Claims, Role
from automatch.services.people.profiles import load_shown
from automatch.settings.database import PoolSettings
from tests.support import build
from tests.support.build import connect
from tests.support.kept_pools import KeptDatabase

pytestmark = pytest.mark.anyio


async def test_others_are_said_to_see_no_photo_that_waits(database) -> None:
    with connect(database.owner, autocommit=True) as conn:
        she = build.a_profile(conn)
        first = build.a_face(conn, she, build.unit(0))
        newest = build.a_face(conn, she, build.unit(0))
        build.a_match(conn, newest)

        async with KeptDatabase(database.api, PoolSettings(), name="test") as db:
            shown = []
            for statement in ("hold_face(%s, 'another_person')", "release_face(%s)"):
                conn.execute(f"select automatch.{statement}", [newest])
                conn.execute(
                    "select automatch.tell_hold(h.face_ids, 'another_person') from"
                    " (select array_agg(face_id) as face_ids from automatch.held_faces) as h"
                )
                page = await load_shown(db, Claims(Role.AUTHENTICATED, she), ["photo"])
                shown.append(page.photo and page.photo.id)

    assert shown == [first, newest]
