"""The search copy made anew beside the one in use, as spreading and gathering it do.

On one server here, without shards; tests/citus has a cluster.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from automatch.store.database import owner_connection
from automatch.store.installation import distribution
from tests.support import build
from tests.support.build import connect
from tests.support.catalog import describe

if TYPE_CHECKING:
    import psycopg

pytestmark = pytest.mark.anyio

AS_IN_A_CLUSTER = (
    "alter table public.face_embeddings alter column embedding drop not null,"
    " enable trigger face_embeddings_go_to_shards"
)
FOUND = (
    "select p.id, c.face_id, c.similarity from public.profiles as p"
    " join public.faces as f on f.profile_id = p.id"
    " join public.face_embeddings as e on e.face_id = f.id"
    " cross join lateral automatch.find_candidates("
    "  coalesce(e.embedding, automatch.read_sharded_embedding(e.model, e.face_id)),"
    "  p.school, 'female', '{}', 0, 20) as c order by 1, 2"
)
STORED = "select face_id, embedding::text, created_at from public.face_embeddings order by 1"
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


async def test_embeddings_in_shards_are_searched_and_come_back_as_they_were(dsn, owner):
    catalog, stored = describe(dsn), owner.execute(STORED).fetchall()
    found = owner.execute(FOUND).fetchall()
    owner.execute(AS_IN_A_CLUSTER)
    steps: list[tuple[int, int]] = []

    async with owner_connection(dsn) as conn:
        await distribution.move_embeddings(
            conn, into_shards=True, on_progress=lambda done, total: steps.append((done, total))
        )
        in_shards = owner.execute("select school from automatch.sharded_embeddings").fetchall()
        left = build.one(owner, "select count(embedding) from face_embeddings")
        found_there = owner.execute(FOUND).fetchall()
        await distribution.move_embeddings(
            conn, into_shards=False, on_progress=lambda done, total: None
        )

    assert left == 0
    assert sorted(in_shards) == [("FTU",), ("FTU",), ("UIT",), ("UIT",)]
    assert steps[-1] == (4, 4)
    assert len(found) == 8
    assert found_there == found
    assert owner.execute(STORED).fetchall() == stored
    assert describe(dsn) == catalog


async def test_embeddings_of_who_moves_meanwhile_are_moved_too(dsn, owner):
    owner.execute(AS_IN_A_CLUSTER)

    def change(done: int, total: int) -> None:
        # Into a school that had its turn, before and after the first school.
        if done in (2, total):
            owner.execute(
                "update profiles set school = 'FTU' where id ="
                " (select id from profiles where school = 'UIT' order by id limit 1)"
            )

    async with owner_connection(dsn) as conn:
        for into_shards, sharded in ((True, 4), (False, 0)):
            await distribution.move_embeddings(conn, into_shards=into_shards, on_progress=change)
            count = "select count(*) from automatch.sharded_embeddings"
            assert build.one(owner, count) == sharded
            assert build.one(owner, "select count(embedding) from face_embeddings") == 4 - sharded
