"""The faces that can be found on the machines of a Citus cluster, by school.

Where `AUTOMATCH_TEST_CITUS_URL` is the address of a coordinator, by a superuser: of a database with
the extension, in which the machines of the cluster are known to each other.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from automatch.cli.commands.matching import tune
from automatch.errors.request import InputInvalidError
from automatch.postgres.addresses import database_address
from automatch.postgres.embedded import EmbeddedPostgres
from automatch.postgres.erased_data import ErasedData
from automatch.settings import Settings
from automatch.settings.limits import LimitSettings
from automatch.settings.secrets import load_or_create, read
from automatch.settings.storage import RetentionSettings
from automatch.sql.statements import load
from automatch.store.database import owner_connection
from automatch.store.installation import distribution
from automatch.store.installation.distribution import Address
from automatch.store.installation.migrate import migrate
from tests.support import build
from tests.support.build import connect, like, one, unit
from tests.support.catalog import describe
from tests.support.command import call_command
from tests.support.held_photos import accepted, held, run, send
from tests.support.photo_store import mark_folder
from tests.support.photos import portrait
from tests.support.postgres import Database, open_every_school
from tests.support.system import running_server
from tests.support.waiting import wait_until
from tests.support.worker import observe, run_worker

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
EMBEDDINGS = (
    "select e.model, e.face_id,"
    " coalesce(e.embedding, automatch.read_sharded_embedding(e.model, e.face_id))::text"
    " from public.face_embeddings as e order by 1, 2"
)
SHARD = "select get_shard_id_for_distribution_column('public.face_index', %s::text)"
FOUND = """
    select p.id, c.profile_id
    from public.profiles as p
    join public.faces as f on f.profile_id = p.id
    join public.face_embeddings as e on e.face_id = f.id
    cross join lateral automatch.find_candidates(
        coalesce(e.embedding, automatch.read_sharded_embedding(e.model, e.face_id)),
        p.school, case p.gender when 'male' then 'female' else 'male' end,
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
    def addresses(self) -> Database:
        logins = ("automatch_api", "automatch_worker", "automatch_schedule")
        return Database(self.dsn, *(make_conninfo(self.dsn, user=login) for login in logins))

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
        if not shards:
            self.move(into_shards=False)
        self.run(distribution.replace_copy, shards=shards, actor="me", on_progress=on_progress)
        if shards:
            self.move(into_shards=True)

    def move(self, *, into_shards: bool, on_progress: Any = lambda done, total: None) -> None:
        self.run(distribution.move_embeddings, into_shards=into_shards, on_progress=on_progress)


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


def embeddings_of(conn: psycopg.Connection, face: UUID) -> list[str]:
    rows = conn.execute(
        "select school from automatch.sharded_embeddings where face_id = %s", [face]
    )
    return [school for (school,) in rows]


def find(conn: psycopg.Connection, face: UUID, school: str) -> list[UUID]:
    found = conn.execute(
        "select c.profile_id from public.face_embeddings as e cross join lateral"
        " automatch.find_candidates("
        "  coalesce(e.embedding, automatch.read_sharded_embedding(e.model, e.face_id)),"
        "  %s, 'male', '{}', 0.5, 20) as c"
        " where e.face_id = %s",
        [school, face],
    )
    return [person for (person,) in found]


def shard(conn: psycopg.Connection, school: str) -> int:
    return one(conn, SHARD, school)


def machine_of(conn: psycopg.Connection, school: str) -> int:
    port: int = one(
        conn, "select nodeport from pg_catalog.citus_shards where shardid = %s", shard(conn, school)
    )
    return port


def on_machines(conn: psycopg.Connection, command: str) -> list[str]:
    rows = conn.execute("select success, result from run_command_on_workers(%s)", [command])
    results = rows.fetchall()
    assert all(success for success, _ in results), results
    return [result for _, result in results]


def folders_of(conn: psycopg.Connection) -> Iterator[Path]:
    """Give the folders of all machines with the files, and with the log where that is deleted."""
    for place in on_machines(
        conn,
        "select concat_ws("
        " ' ', current_setting('data_directory'), d.oid, current_setting('wal_recycle'))"
        " from pg_database as d where d.datname = current_database()",
    ):
        folder, database, recycles = place.rsplit(" ", 2)
        if not Path(folder).is_dir():
            pytest.skip("the files of another machine cannot be read")
        yield Path(folder, "base", database)
        if recycles == "off":
            yield Path(folder, "pg_wal")


def found(folders: list[Path], embedding: Any) -> set[str]:
    """Return the forms of an embedding that are in a file."""
    contents = (
        path.read_bytes() for folder in folders for path in folder.rglob("*") if path.is_file()
    )
    forms = {kind: embedding[:12].astype(kind).tobytes() for kind in ("<f4", "<f2")}
    return {kind for content in contents for kind, form in forms.items() if form in content}


@contextmanager
def away(cluster: Cluster, node: Address) -> Iterator[None]:
    """Have a machine let nobody into the database."""
    assert CLUSTER is not None
    with psycopg.connect(CLUSTER, host=node.host, port=node.port, autocommit=True) as conn:
        conn.execute(f"alter database {NAME} allow_connections false")
        try:
            conn.execute(
                "select pg_terminate_backend(pid, 10000) from pg_stat_activity where datname = %s",
                [NAME],
            )
            yield
        finally:
            conn.execute(f"alter database {NAME} allow_connections true")


@contextmanager
def sent_to_machines(conn: psycopg.Connection) -> Iterator[list[str]]:
    """Collect the statements that the coordinator sends to others."""
    sent: list[str] = []
    conn.add_notice_handler(lambda notice: sent.append(notice.message_primary or ""))
    conn.execute("set citus.log_remote_commands = on")
    yield sent
    conn.execute("reset citus.log_remote_commands")


def test_migration_that_makes_a_role_keeps_its_functions_on_the_coordinator(tmp_path):
    # As the first one on a server does, which makes the logins.
    name = f"{NAME}_role"
    files, none = tmp_path / "migrations", tmp_path / "compat"
    files.mkdir()
    none.mkdir()
    (files / "20261201000000_automatch_role.sql").write_text(
        f"create role {name} nologin;"
        " create function public.one() returns integer language sql return 1;"
    )
    assert CLUSTER is not None
    dsn = make_conninfo(CLUSTER, dbname=name)
    with psycopg.connect(CLUSTER, autocommit=True) as conn:
        conn.execute(f"drop database if exists {name} with (force)")
        conn.execute(f"drop role if exists {name}")
        conn.execute(f"create database {name}")
        try:
            with psycopg.connect(dsn) as migrated:
                migrated.execute("create extension citus")
            asyncio.run(migrate(dsn, {}, migrations=files, compat=none))
            with psycopg.connect(dsn) as migrated:
                assert one(migrated, "select public.one()") == 1
                assert one(migrated, f"select to_regrole('{name}') is not null")
                sent = "select count(*) from pg_dist_object where objid = 'public.one'::regproc"
                assert one(migrated, sent) == 0
        finally:
            conn.execute(f"drop database {name} with (force)")
            conn.execute(f"drop role if exists {name}")


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


def test_embeddings_lie_on_the_machine_of_the_faces_of_their_school_and_nowhere_else(cluster, conn):
    assert one(conn, "select count(*) from public.face_embeddings where embedding is not null") == 0
    assert one(conn, "select count(*) from automatch.sharded_embeddings") >= len(cluster.rows)
    assert cluster.run(distribution.are_co_located)
    for school in SCHOOLS:
        places = conn.execute(
            "select s.nodeport from pg_catalog.citus_shards as s cross join"
            " unnest(array['public.face_index'::regclass, 'automatch.sharded_embeddings']) as t (o)"
            " where s.table_name = t.o"
            " and s.shardid = get_shard_id_for_distribution_column(t.o, %s::text)",
            [school],
        ).fetchall()
        assert len(places) == 2
        assert places[0] == places[1]


def test_a_search_reads_one_shard_and_asks_one_machine_once(conn):
    (_, face), _ = a_pair(conn, "FTU", 40)
    asked = one(conn, "select automatch.read_sharded_embedding('dlib', %s)", face)
    with sent_to_machines(conn) as sent:
        found = conn.execute(
            "select * from automatch.find_candidates(%s, 'FTU', 'male', '{}', 0.5, 20)", [asked]
        ).fetchall()

    reads = [statement for statement in sent if "face_index" in statement]
    assert len(found) == 1
    assert len(sent) == len(reads) == 1
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
    conn.execute("update public.match_settings set hold_another_account = default")


def test_photo_that_waited_for_the_wrong_first_one_is_found_in_its_shard_once_that_has_gone(conn):
    conn.execute("update public.match_settings set hold_another_person = true")
    _, (he, _) = a_pair(conn, "HCMUTE", 56)
    she = build.a_profile(conn, school="HCMUTE", gender="female")
    wrong = accepted(conn, she, unit(54))
    right, stranger = send(conn, she), send(conn, she)
    run(conn, {right: unit(56), stranger: unit(53)})
    assert held(conn).items() >= dict.fromkeys((right, stranger), "another_person").items()
    with build.acting(conn, she):
        conn.execute("select public.delete_face(%s)", [wrong])

    assert held(conn)[stranger] == "another_person"
    assert rows_of(conn, she) == ["HCMUTE"]
    assert find(conn, right, "HCMUTE") == [he]
    assert run(conn, {}) == {right: 1}
    conn.execute("update public.match_settings set hold_another_person = false")


def test_doctor_compares_sums_of_the_shards_and_reads_only_schools_that_differ(conn):
    queries = load("doctor_search")
    (she, hers), _ = a_pair(conn, "NEU", 57)
    with sent_to_machines(conn) as sent:
        assert conn.execute(queries["differing_schools"]).fetchall() == []
    assert [
        part for part in sent if "face_index" in part and "uuid_hash_extended" not in part
    ] == []

    conn.execute("delete from public.face_index where school = 'NEU' and face_id = %s", [hers])
    assert conn.execute(queries["differing_schools"]).fetchall() == [("NEU",)]
    with sent_to_machines(conn) as sent:
        wrong = conn.execute(queries["out_of_sync"], {"schools": ["NEU"]}).fetchall()
    assert wrong == [(she,)]
    reads = {part for text in sent for part in re.findall(r"face_index_(\d+)", text)}
    assert len(reads) == 1
    conn.execute(queries["index_faces"], {"profile": she})


def test_who_is_erased_is_in_no_shard(conn):
    (she, hers), (he, his) = a_pair(conn, "HUST", 60)
    assert rows_of(conn, she) == embeddings_of(conn, hers) == ["HUST"]
    conn.execute("delete from public.profiles where id = %s", [she])

    assert rows_of(conn, she) == embeddings_of(conn, hers) == []
    assert rows_of(conn, he) == embeddings_of(conn, his) == ["HUST"]
    left = conn.execute(
        "select p.id, coalesce(sum(e.row_count) filter (where e.place ~ 'index|sharded'), 0)"
        " from unnest(%s::uuid[]) as p (id) cross join lateral"
        " automatch.find_erased(array[automatch.text_sha256(p.id::text)]) as e group by p.id",
        [[she, he, his]],
    ).fetchall()
    assert dict(left) == {she: 0, he: 1, his: 2}


def test_bytes_of_who_is_erased_leave_the_files_of_every_machine(cluster, conn):
    folders = list(folders_of(conn))
    (she, _), _ = a_pair(conn, "HUTECH", 62)
    erased, kept = unit(62), like(unit(62), 0.8)
    # Citus makes the shard anew there, and lets the planner take samples of it.
    here = next(n for n in cluster.nodes if n.port == machine_of(conn, "HUTECH"))
    there = next(n for n in cluster.nodes if n != here)
    conn.execute(
        "select citus_move_shard_placement(%s, %s, %s, %s, %s, 'block_writes')",
        [shard(conn, "HUTECH"), here.host, here.port, there.host, there.port],
    )
    assert cluster.run(distribution.are_sampled)
    on_machines(conn, "analyze")
    on_machines(conn, "checkpoint")
    assert found(folders, erased) == found(folders, kept) == {"<f4", "<f2"}

    erased_data = ErasedData(cluster.dsn)
    with psycopg.connect(cluster.dsn, host=there.host, port=there.port) as reader:
        reader.execute("set transaction isolation level repeatable read")
        reader.execute("select from pg_catalog.pg_class")
        conn.execute("delete from public.profiles where id = %s", [she])
        assert not asyncio.run(erased_data.remove()), "a transaction there still sees it"
    assert found(folders, erased)
    # The server ends a transaction only after its client has gone.
    wait_until(lambda: asyncio.run(erased_data.remove()), "her bytes are removed")

    assert found(folders, erased) == set()
    assert found(folders, kept) == {"<f4", "<f2"}
    assert one(conn, "select count(*) from automatch.erasures") == 0
    assert not cluster.run(distribution.are_sampled)


def test_who_withdraws_consent_is_in_no_shard_until_it_is_given_again(conn):
    (she, hers), (he, his) = a_pair(conn, "HUFLIT", 63)
    assert find(conn, hers, "HUFLIT") == [he]
    build.record_consent(conn, he, "withdrawn")
    assert rows_of(conn, he) == []
    assert find(conn, hers, "HUFLIT") == []

    build.record_consent(conn, he, "granted")
    replaced = build.a_face(conn, he, like(unit(63), 0.8))
    assert rows_of(conn, he) == ["HUFLIT"]
    assert embeddings_of(conn, replaced) == ["HUFLIT"]
    assert find(conn, hers, "HUFLIT") == [he]
    assert (embeddings_of(conn, hers), rows_of(conn, she)) == (["HUFLIT"], ["HUFLIT"])
    assert embeddings_of(conn, his) == []


@pytest.mark.parametrize("school", ["HUST", None])
def test_photo_or_embedding_that_is_deleted_is_in_no_shard(conn, school):
    person = build.a_profile(conn, school=school)
    photo, seen = (build.a_face(conn, person, unit(number)) for number in (65, 66))
    assert embeddings_of(conn, photo) == embeddings_of(conn, seen) == [school or ""]
    conn.execute("delete from public.faces where id = %s", [photo])
    conn.execute("delete from public.face_embeddings where face_id = %s", [seen])

    assert rows_of(conn, person) == []
    assert embeddings_of(conn, photo) == embeddings_of(conn, seen) == []


def test_who_moves_to_another_school_moves_to_its_shard(conn):
    here, *others = SCHOOLS
    there = next(other for other in others if shard(conn, other) != shard(conn, here))
    (_, hers), (he, his) = a_pair(conn, here, 70)
    assert find(conn, hers, here) == [he]
    conn.execute("update public.profiles set school = %s where id = %s", [there, he])

    assert rows_of(conn, he) == embeddings_of(conn, his) == [there]
    assert find(conn, hers, here) == []
    assert find(conn, hers, there) == [he]


def test_school_of_another_name_lies_in_the_shard_of_that_name(conn):
    (_, hers), (he, his) = a_pair(conn, "Old name", 80)
    conn.execute("select public.rename_school('Old name', 'New name')")

    assert rows_of(conn, he) == embeddings_of(conn, his) == ["New name"]
    assert find(conn, hers, "New name") == [he]


def test_another_model_has_shards_too(conn):
    build.a_model(conn, "long", 64)
    (she, hers), _ = a_pair(conn, "UIT", 90)
    for number in (2, 1):
        build.embed(conn, hers, unit(number, 64), model="long")

    assert rows_of(conn, she) == embeddings_of(conn, hers) == ["UIT", "UIT"]
    stored = one(conn, "select automatch.read_sharded_embedding('long', %s)", hers)
    assert np.allclose(stored.to_numpy(), unit(1, 64))
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


def test_index_of_a_large_group_is_built_in_its_shard_and_searched(cluster, conn, tmp_path):
    (_, hers), (he, _) = a_pair(conn, "Giant", 110)
    changes: dict[str, int | None] = dict.fromkeys(
        ("audit_one_in", "index_from", "index_until", "most_indexes", "m", "ef_construction"), 1
    )
    changes |= {"m": None, "ef_construction": None, "ef_search": 100}
    settings = Settings(home=tmp_path, database_url=cluster.dsn)
    load_or_create(tmp_path)
    asyncio.run(tune._tune(settings, changes, 1, build=True, cluster=False, however_long=False))
    school, gender, index = conn.execute(
        "select school, gender, index_name from automatch.group_indexes where ready"
    ).fetchone()
    asked = one(conn, "select automatch.read_sharded_embedding('dlib', %s)", hers)
    plan = conn.execute(
        "explain select i.face_id from public.face_index as i"
        f" where i.model = 'dlib' and i.school = '{school}' and i.gender = '{gender}'"
        " order by i.embedding::halfvec(128) <#> %s::halfvec limit 400",
        [asked],
    ).fetchall()

    assert index in "".join(line for (line,) in plan)
    assert find(conn, hers, school) == [he]


@pytest.mark.anyio
async def test_while_a_machine_is_away_its_schools_wait_and_all_others_go_on(
    cluster, conn, tmp_path
):
    # Two people of one machine, and two of another, who wait for a worker.
    gone, nodes = SCHOOLS[0], await asyncio.to_thread(lambda: cluster.nodes)
    node = next(node for node in nodes if node.port == machine_of(conn, gone))
    here = next(school for school in SCHOOLS if machine_of(conn, school) != node.port)
    jobs = {}
    for school in (gone, here):
        people = [build.a_profile(conn, school=school, gender=g) for g in ("male", "female")]
        jobs[school] = [build.a_job(conn, build.a_face(conn, person, None)) for person in people]

    def are(school: str, status: str, attempts: int) -> str:
        return (
            f"select bool_and(status = '{status}' and attempts = {attempts}) from match_jobs"
            f" where id = any ('{{{','.join(map(str, jobs[school]))}}}')"
        )

    settings = Settings(
        home=tmp_path,
        database_url=cluster.dsn,
        retention=RetentionSettings(min_free_mb=0),
        limits=LimitSettings(enabled=False),
    )
    secrets = load_or_create(tmp_path)
    async with (
        observe(cluster.addresses) as db,
        running_server(settings, secrets, cluster.addresses) as system,
    ):
        she = await system.join("female", school=gone)
        photo = (await she.upload(portrait(0))).json()["face"]["id"]
        with away(cluster, node):
            async with run_worker(
                cluster.addresses, concurrency=1, batch_s=600, outage_pause_max_s=0.5
            ):
                await db.wait_until(are(here, "completed", 1))
                await db.wait_until(are(gone, "pending", 0))
            assert await she.feed() == []
            assert (await she.upload(portrait(1))).status_code == 202
            refused = await she.client.delete(f"/api/faces/{photo}", headers=she.headers)
            assert (refused.status_code, refused.json()["error"]["code"]) == (503, "db_unavailable")
            told = await asyncio.to_thread(cluster.run, distribution.list_away)
            assert [str(each) for each in told] == [str(node)]
        async with run_worker(cluster.addresses, outage_pause_max_s=0.1):
            await db.wait_until(are(gone, "completed", 1))


def test_backup_is_restored_on_one_server(cluster, conn, tmp_path, empty_home):
    home, place, key = tmp_path / "home", tmp_path / "backups", tmp_path / "backup.key"
    load_or_create(home)
    mark_folder(cluster.dsn, home / "photos")

    def run(folder: Path, *words: object, **settings: str) -> str:
        done = call_command(folder, *words, RETENTION__MIN_FREE_MB="0", **settings)
        assert done.returncode == 0, done.stderr
        return str(done.stdout)

    run(home, "backup", "new-key", key)
    made = run(home, "backup", place, "--key-file", key, "--json", DATABASE_URL=cluster.dsn)
    signed_by = json.loads(made)["signed_by"]
    run(empty_home, "restore", place, "--key-file", key, "--signed-by", signed_by)
    before = [conn.execute(query).fetchall() for query in (ROWS, EMBEDDINGS, FOUND)]

    async def compare() -> None:
        settings, secrets = Settings(home=empty_home), read(empty_home)
        async with EmbeddedPostgres(settings, secrets):
            await asyncio.to_thread(run, empty_home, "db", "gather", "--yes")
            with connect(database_address(settings, secrets, "owner")) as restored:
                after = [restored.execute(query).fetchall() for query in (ROWS, EMBEDDINGS, FOUND)]
                assert after == before
                differing = load("doctor_search")["differing_schools"]
                assert restored.execute(differing).fetchall() == []
                assert one(restored, "select count(*) from automatch.sharded_embeddings") == 0

    asyncio.run(compare())


def test_shards_are_not_put_in_order(cluster, tmp_path):
    load_or_create(tmp_path)
    settings = Settings(home=tmp_path, database_url=cluster.dsn)
    with pytest.raises(InputInvalidError, match="only --build"):
        asyncio.run(tune._tune(settings, {}, 1, build=False, cluster=True, however_long=False))


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
