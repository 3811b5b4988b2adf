"""The faces that can be found on the machines of a Citus cluster, by school.

Where `AUTOMATCH_TEST_CITUS_URL` is the address of a coordinator, by a superuser: of a database with
the extension, in which the machines of the cluster are known to each other.
"""

from __future__ import annotations

import asyncio
import os
import re
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from automatch.cli.commands import tune
from automatch.errors.request import InputInvalidError
from automatch.settings import Settings
from automatch.settings.secrets import load_or_create
from automatch.store import distribution
from automatch.store.database import owner_connection
from automatch.store.distribution import Address
from automatch.store.migrate import migrate
from tests.support import build
from tests.support.build import connect, like, one, unit
from tests.support.catalog import describe
from tests.support.postgres import open_every_school

if TYPE_CHECKING:
    from collections.abc import Iterator
    from uuid import UUID

CLUSTER = os.environ.get("AUTOMATCH_TEST_CITUS_URL")
NAME = "automatch_test_citus"
SCHOOLS = [f"School {number}" for number in range(12)]

pytestmark = pytest.mark.skipif(not CLUSTER, reason="AUTOMATCH_TEST_CITUS_URL names no cluster")

ROWS = (
    "select face_id, profile_id, school, gender, version::text, embedding::text"
    " from public.face_index order by face_id"
)
SHARD = "select get_shard_id_for_distribution_column('public.face_index', %s::text)"
FOUND = """
    select p.id, c.profile_id
    from public.profiles as p
    join public.faces as f on f.profile_id = p.id
    join public.face_embeddings as e on e.face_id = f.id
    cross join lateral automatch.find_candidates(
        e.embedding, p.school, case p.gender when 'male' then 'female' else 'male' end,
        '{}', 0.5, 20
    ) as c
    order by 1, 2
"""


@dataclass(frozen=True)
class Cluster:
    """A database that was spread over the machines of the cluster."""

    dsn: str
    catalog: list[str]
    """What was in it before."""
    rows: list[tuple[Any, ...]]
    found: list[tuple[UUID, UUID]]

    @property
    def nodes(self) -> list[distribution.Node]:
        return self.run(distribution.list_nodes)

    def run(self, act: Any, *args: Any, **options: Any) -> Any:
        """Run a function of the store on a connection of its own."""

        async def connected() -> Any:
            async with owner_connection(self.dsn) as conn:
                return await act(conn, *args, **options)

        return asyncio.run(connected())

    def spread(self, shards: int = 32, on_progress: Any = lambda done, total: None) -> None:
        self.run(distribution.replace_copy, shards=shards, actor="me", on_progress=on_progress)


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """Give twelve schools with a look-alike pair each, spread after they were written."""
    assert CLUSTER is not None
    with psycopg.connect(CLUSTER) as conn:
        nodes = conn.execute(
            "select nodename, nodeport from pg_dist_node order by groupid"
        ).fetchall()
    for host, port in nodes:
        with psycopg.connect(CLUSTER, host=host, port=port, autocommit=True) as conn:
            conn.execute(f"drop database if exists {NAME} with (force)")
            conn.execute(f"create database {NAME}")
        with psycopg.connect(CLUSTER, host=host, port=port, dbname=NAME) as conn:
            conn.execute("create extension citus")
    dsn = make_conninfo(CLUSTER, dbname=NAME)
    passwords = dict.fromkeys(("automatch_api", "automatch_worker", "automatch_schedule"), "test")
    asyncio.run(migrate(dsn, passwords, take_over=True))
    with connect(dsn, autocommit=True) as conn:
        open_every_school(conn)
        conn.execute("update public.match_settings set hold_another_person = false")
        for number, school in enumerate(SCHOOLS):
            a_pair(conn, school, number)
        rows, found = conn.execute(ROWS).fetchall(), conn.execute(FOUND).fetchall()
    cluster = Cluster(dsn, describe(dsn), rows, found)
    coordinator, *workers = (Address(host, port) for host, port in nodes)
    cluster.run(distribution.add_nodes, coordinator, workers)
    cluster.spread()
    yield cluster
    for host, port in reversed(nodes):
        with psycopg.connect(CLUSTER, host=host, port=port, autocommit=True) as conn:
            conn.execute(f"drop database {NAME} with (force)")


@pytest.fixture
def conn(cluster: Cluster) -> Iterator[psycopg.Connection]:
    with connect(cluster.dsn, autocommit=True) as conn:
        yield conn


def a_pair(conn: psycopg.Connection, school: str, number: int) -> list[tuple[UUID, UUID]]:
    people = []
    for gender, face in (("female", unit(number)), ("male", like(unit(number), 0.8))):
        person = build.a_profile(conn, school=school, gender=gender)
        people.append((person, build.a_face(conn, person, face)))
    return people


def rows_of(conn: psycopg.Connection, person: UUID) -> list[str]:
    rows = conn.execute("select school from public.face_index where profile_id = %s", [person])
    return [school for (school,) in rows]


def find(conn: psycopg.Connection, face: UUID, school: str) -> list[UUID]:
    found = conn.execute(
        "select c.profile_id from public.face_embeddings as e cross join lateral"
        " automatch.find_candidates(e.embedding, %s, 'male', '{}', 0.5, 20) as c"
        " where e.face_id = %s",
        [school, face],
    )
    return [person for (person,) in found]


def shard(conn: psycopg.Connection, school: str) -> int:
    return one(conn, SHARD, school)


@contextmanager
def sent_to_machines(conn: psycopg.Connection) -> Iterator[list[str]]:
    """Collect the statements that the coordinator sends to others."""
    sent: list[str] = []
    conn.add_notice_handler(lambda notice: sent.append(notice.message_primary or ""))
    conn.execute("set citus.log_remote_commands = on")
    yield sent
    conn.execute("reset citus.log_remote_commands")


def test_schools_lie_on_every_machine_and_everybody_is_found_as_before(cluster, conn):
    machines = conn.execute(
        "select distinct s.nodeport from unnest(%s::text[]) as school (name)"
        " join pg_catalog.citus_shards as s on s.table_name = 'public.face_index'::regclass"
        " and s.shardid = get_shard_id_for_distribution_column('public.face_index', school.name)",
        [SCHOOLS],
    )

    assert len(cluster.found) == 2 * len(SCHOOLS)
    assert set(cluster.found) <= set(conn.execute(FOUND).fetchall())
    assert {port for (port,) in machines} == {node.port for node in cluster.nodes}


def test_a_search_reads_one_shard_and_asks_one_machine_once(conn):
    (_, face), _ = a_pair(conn, "FTU", 40)
    with sent_to_machines(conn) as sent:
        found = find(conn, face, "FTU")

    reads = [statement for statement in sent if "face_index" in statement]
    assert len(found) == 1
    assert len(reads) == 1
    assert set(re.findall(r"face_index_(\d+)", reads[0])) == {str(one(conn, SHARD, "FTU"))}


def test_two_people_who_upload_find_each_other_and_both_are_told(conn):
    (she, hers), (he, his) = a_pair(conn, "UEL", 50)
    assert build.a_match(conn, hers) == 1
    assert build.a_match(conn, his) == 1

    shown = conn.execute(
        "select profile_id, other_profile_id from automatch.feed_entries"
        " where profile_id = any (%s) and match_id is not null order by 1",
        [[she, he]],
    )
    assert shown.fetchall() == sorted([(she, he), (he, she)])


def test_first_photo_is_compared_with_the_other_accounts_of_its_school(conn):
    a_pair(conn, "HCMUS", 55)
    again = build.a_profile(conn, school="HCMUS", gender="female")
    conn.execute("update public.match_settings set hold_another_account = 'always'")
    face = build.a_face(conn, again)
    build.a_job(conn, face)
    job, token = build.claim(conn)
    conn.execute(
        "select public.store_face_embeddings("
        " array[%s]::uuid[], array[%s]::bigint[], array[%s], 'dlib', array['{}']::jsonb[],"
        " array['{}']::jsonb[])",
        [job, token, unit(55)],
    )

    assert one(conn, "select reason from automatch.held_faces where face_id = %s", face)
    assert rows_of(conn, again) == []


def test_who_is_erased_is_in_no_shard(conn):
    (she, _), (he, _) = a_pair(conn, "HUST", 60)
    assert rows_of(conn, she)
    conn.execute("delete from public.profiles where id = %s", [she])

    assert rows_of(conn, she) == []
    assert rows_of(conn, he) == ["HUST"]


def test_who_moves_to_another_school_moves_to_its_shard(conn):
    here, *others = SCHOOLS
    there = next(other for other in others if shard(conn, other) != shard(conn, here))
    (_, hers), (he, _) = a_pair(conn, here, 70)
    assert find(conn, hers, here) == [he]
    conn.execute("update public.profiles set school = %s where id = %s", [there, he])

    assert rows_of(conn, he) == [there]
    assert find(conn, hers, here) == []
    assert find(conn, hers, there) == [he]


def test_school_of_another_name_lies_in_the_shard_of_that_name(conn):
    (_, hers), (he, _) = a_pair(conn, "Old name", 80)
    conn.execute("select public.rename_school('Old name', 'New name')")

    assert rows_of(conn, he) == ["New name"]
    assert find(conn, hers, "New name") == [he]


def test_another_model_has_shards_too(conn):
    build.a_model(conn, "long", 64)
    (she, hers), _ = a_pair(conn, "UIT", 90)
    build.embed(conn, hers, unit(1, 64), model="long")

    assert rows_of(conn, she) == ["UIT", "UIT"]
    assert one(conn, "select automatch.is_distributed('public.face_index_long')")
    conn.execute("select automatch.drop_model_partitions('long')")
    conn.execute("delete from public.embedding_models where id = 'long'")


def test_rows_of_a_transaction_that_has_not_ended_everywhere_do_not_count_as_known(cluster, conn):
    settled = "select automatch.settled_before()::text::bigint"
    with connect(cluster.dsn) as other:
        open_one = one(other, "select pg_current_xact_id()::text::bigint")
        conn.execute("select pg_current_xact_id()")
        assert one(conn, settled) == open_one
    assert one(conn, settled) > open_one


def test_large_school_is_alone_in_its_shard_on_the_machine_that_is_named(cluster, conn):
    (_, hers), (he, _) = a_pair(conn, "Giant", 100)
    first, last = cluster.nodes[0], cluster.nodes[-1]
    for node in (first, last, last):
        place = Address(node.host, node.port)
        assert cluster.run(distribution.isolate_school, "Giant", place) == place
        machine = one(
            conn,
            "select nodeport from pg_catalog.citus_shards as s"
            " join pg_dist_shard as d using (shardid)"
            " where shardid = %s and d.shardminvalue = d.shardmaxvalue"
            " and s.table_name = 'public.face_index'::regclass",
            shard(conn, "Giant"),
        )
        assert machine == node.port
        assert find(conn, hers, "Giant") == [he]


def test_indexes_of_groups_are_refused_with_what_to_do_instead(cluster, tmp_path):
    load_or_create(tmp_path)
    settings = Settings(home=tmp_path, database_url=cluster.dsn)
    for index, order in ((True, False), (False, True)):
        asked = tune._tune(settings, {}, 1, build=index, cluster=order, however_long=False)
        with pytest.raises(InputInvalidError, match="--isolate SCHOOL"):
            asyncio.run(asked)


def test_an_upgrade_that_plans_for_one_server_is_noticed_and_put_right(cluster, conn):
    assert not cluster.run(distribution.is_planned_for_one_server)
    conn.execute("alter function public.read_search_group set plan_cache_mode = force_generic_plan")
    assert cluster.run(distribution.is_planned_for_one_server)
    cluster.run(distribution.tune_cluster)

    assert not cluster.run(distribution.is_planned_for_one_server)
    assert cluster.run(distribution.list_away) == []


def test_gathered_database_is_as_before_and_an_interrupted_spreading_goes_on(cluster, conn):
    rows = conn.execute(ROWS).fetchall()

    def interrupt(done: int, total: int) -> None:
        raise InterruptedError

    cluster.spread(shards=0)
    assert conn.execute(ROWS).fetchall() == rows
    assert set(cluster.rows) <= set(rows)
    assert describe(cluster.dsn) == cluster.catalog
    assert {node.bytes for node in cluster.nodes} == {0}

    with pytest.raises(InterruptedError):
        cluster.spread(on_progress=interrupt)
    assert not cluster.run(distribution.read_state).is_distributed
    cluster.spread()
    assert cluster.run(distribution.read_state).is_distributed
    assert conn.execute(ROWS).fetchall() == rows
