"""The search copy made anew beside the one in use, as spreading and gathering it do.

On one server here, without shards; tests/citus has a cluster.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from automatch.store import distribution
from automatch.store.database import owner_connection
from tests.support import build
from tests.support.build import connect
from tests.support.catalog import describe

if TYPE_CHECKING:
    import psycopg

pytestmark = pytest.mark.anyio

SHOWN = (
    "select face_id, profile_id, school, gender, version::text, embedding::text"
    " from public.face_index order by face_id"
)


@pytest.fixture
def owner(dsn: str) -> psycopg.Connection:
    """Give a database with two people of two schools each."""
    with connect(dsn, autocommit=True) as conn:
        for school in ("FTU", "UIT"):
            for number in range(2):
                build.a_face(conn, build.a_profile(conn, school=school), build.unit(number))
        yield conn


async def rebuild(dsn: str, on_progress=lambda done, total: None) -> None:
    async with owner_connection(dsn) as conn:
        await distribution.replace_copy(conn, shards=0, actor="someone", on_progress=on_progress)


async def test_a_copy_in_the_place_of_the_one_before_is_like_it_in_every_respect(dsn, owner):
    catalog, rows = describe(dsn), owner.execute(SHOWN).fetchall()

    await rebuild(dsn)

    assert len(rows) == 4
    assert owner.execute(SHOWN).fetchall() == rows
    assert describe(dsn) == catalog


async def test_what_changes_while_schools_are_copied_is_in_the_copy(dsn, owner):
    gone, moves = (
        person for (person,) in owner.execute("select id from profiles where school = 'FTU'")
    )

    def change(done: int, total: int) -> None:
        # After the last school.
        if done == total:
            owner.execute("delete from public.profiles where id = %s", [gone])
            owner.execute("update public.profiles set school = 'UEL' where id = %s", [moves])
            build.a_face(owner, build.a_profile(owner, school="UIT"), build.unit(7))

    await rebuild(dsn, change)

    schools = owner.execute("select school, count(*) from face_index group by 1 order by 1")
    assert schools.fetchall() == [("UEL", 1), ("UIT", 3)]
    assert build.one(owner, "select to_regclass('public.face_index_next')") is None


async def test_an_interrupted_copy_goes_on_where_it_was(dsn, owner):
    def interrupt(done: int, total: int) -> None:
        raise InterruptedError

    with pytest.raises(InterruptedError):
        await rebuild(dsn, interrupt)
    copied = build.one(owner, "select count(*) from face_index_next")
    steps: list[tuple[int, int]] = []
    await rebuild(dsn, lambda done, total: steps.append((done, total)))

    assert copied == 2
    assert steps == [(2, 2)]
    assert build.one(owner, "select count(*) from face_index") == 4
