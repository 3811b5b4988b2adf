"""Very large groups, their index and its limits; the audit of searches; `automatch tune`."""

from __future__ import annotations

import json

import numpy as np
import pytest
from structlog.testing import capture_logs

from automatch.photos.folder import FolderPhotos
from automatch.settings.database import PoolSettings
from automatch.settings.storage import RetentionSettings
from automatch.settings.worker import WorkerSettings
from automatch.store.database import Database
from automatch.store.matching import tune
from automatch.worker.maintenance import MaintenanceRunner
from tests.support import build
from tests.support.build import connect, like, one
from tests.support.bulk import write_group
from tests.support.command import call_command

GROUP = ("UIT", "female")
FIND = "select face_id, similarity from automatch.find_candidates(%s, 'UIT', 'female', %s, %s, 20)"
INDEX_SCANS = """
    select sum(pg_stat_get_xact_numscans(oid)) from pg_class where relname ~ '^face_index_of_'
"""


@pytest.fixture
def owner(database):
    with connect(database.owner, autocommit=True) as conn:
        # The graph of an index is drawn by lot; with so many edges none misses anybody of hundreds.
        conn.execute(
            "update automatch.search_settings set ef_search = 100, m = 48, ef_construction = 256"
        )
        yield conn


@pytest.fixture
async def tuned(database):
    """Give two connections as `automatch tune` has them."""
    async with (
        tune.owner_connection(database.owner) as conn,
        tune.owner_connection(database.owner) as watcher,
    ):
        yield conn, watcher


def a_large_school(conn, people=600, *, same=0, seed=0, school="UIT"):
    """Write women of similarities 0.01 to 0.9 to a direction, and *same* who are all alike."""
    rng = np.random.default_rng(seed)
    similarities = [*rng.uniform(0.01, 0.9, people - same), *[0.8] * same]
    faces = np.stack(
        [
            like(build.unit(0), value, seed=0 if value == 0.8 else number)
            for number, value in enumerate(similarities)
        ]
    )
    conn.execute("set session_replication_role = replica")
    write_group(conn, school, "female", rng.integers(0, 256, (people, 16), np.uint8), faces)
    conn.execute("set session_replication_role = default")


def found(conn, threshold=0.5, excluded=()):
    return conn.execute(FIND, [build.unit(0), list(excluded), threshold]).fetchall()


def scans_of_group_indexes(conn):
    """Search once and return how often that read an index of a group."""
    with conn.transaction():
        before = one(conn, INDEX_SCANS) or 0
        found(conn)
        return (one(conn, INDEX_SCANS) or 0) - before


@pytest.mark.anyio
async def test_group_with_an_index_is_searched_with_it_and_has_the_same_results(owner, tuned):
    a_large_school(owner)
    excluded = [person for person, _ in found(owner)[:3]]
    questions = [(0.5, ()), (0.85, ()), (0.5, excluded), (0.0001, ())]
    exact = [found(owner, *question) for question in questions]
    assert scans_of_group_indexes(owner) == 0
    phases = []
    await tune.build_index(*tuned, *GROUP, on_progress=lambda *seen: phases.append(seen))

    assert scans_of_group_indexes(owner) == 1
    assert [found(owner, *question) for question in questions] == exact
    (group,) = await tune.list_groups(tuned[0], 5)
    assert group.index_ready
    assert group.index_bytes > 0


@pytest.mark.anyio
async def test_index_that_returns_too_few_faces_is_not_trusted(owner, tuned):
    # More people are alike than a search of the index collects: it cannot tell who is first.
    a_large_school(owner, same=150)
    exact = found(owner)
    await tune.build_index(*tuned, *GROUP, on_progress=lambda *_: None)

    assert found(owner) == exact
    everybody = [
        person
        for person, _ in owner.execute(
            FIND.replace("20)", "100)"), [*(build.unit(0), [], 0.5)]
        ).fetchall()
    ]
    with_hidden = found(owner, excluded=everybody)
    owner.execute("update automatch.group_indexes set ready = false")
    assert with_hidden == found(owner, excluded=everybody)


@pytest.mark.anyio
async def test_index_follows_people_who_join_and_leave(owner, tuned):
    a_large_school(owner)
    await tune.build_index(*tuned, *GROUP, on_progress=lambda *_: None)
    best, *_ = found(owner)
    newcomer = build.a_face(owner, build.a_profile(owner), build.unit(0))
    owner.execute("update public.profiles set school = 'HCMUS' where id = %s", [best[0]])

    faces = [face for face, _ in found(owner)]
    assert faces[0] == newcomer
    assert best[0] not in faces


@pytest.mark.anyio
async def test_build_that_fails_leaves_nothing_behind(owner, tuned):
    a_large_school(owner, 50)
    owner.execute("update automatch.search_settings set m = 100, ef_construction = 1000")

    def stop(*_):
        raise KeyboardInterrupt

    index_name = "face_index_of_" + one(owner, "select left(md5('dlib/UIT/female'), 16)")
    owner.execute(f"create index {index_name} on public.faces (created_at)")
    with pytest.raises(Exception, match="already exists"):
        await tune.build_index(*tuned, *GROUP, on_progress=stop)

    assert await tune.list_indexes(tuned[0]) == []
    assert len(found(owner)) == 20


def tuned_by_command(database, home, *arguments):
    done = call_command(
        home,
        *("tune", "--json", *arguments),
        DATABASE_URL=database.owner,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout), done.stderr


def test_command_lists_groups_and_keeps_indexes_within_limits(owner, database, cluster):
    a_large_school(owner, 300)
    a_large_school(owner, 250, seed=1, school="HCMUS")
    build.a_face(owner, build.a_profile(owner, gender="male"), build.unit(0))
    shown, _ = tuned_by_command(database, cluster.settings.home)
    assert [(group["school"], group["plan"]) for group in shown["groups"]] == [
        ("UIT", "exact"),
        ("HCMUS", "exact"),
        ("UIT", "exact"),
    ]
    assert shown["groups"][0]["p50_ms"] > 0
    bounds = ["--index-from", "200", "--index-until", "150", "--most-indexes", "1", "--m", "8"]
    shown, said = tuned_by_command(database, cluster.settings.home, "--build", *bounds)
    assert [group["plan"] for group in shown["groups"]] == ["index", "exact", "exact"]
    assert "building the index of UIT, female, 300 faces" in said
    assert shown["settings"]["m"] == 8
    owner.execute(
        "delete from public.profiles where id in"
        " (select profile_id from public.face_index where school = 'UIT' limit 120)"
    )
    shown, said = tuned_by_command(database, cluster.settings.home, "--build")
    assert {group["school"]: group["plan"] for group in shown["groups"] if group["faces"] > 1} == {
        "UIT": "index",
        "HCMUS": "exact",
    }
    owner.execute(
        "delete from public.profiles where id in"
        " (select profile_id from public.face_index where school = 'UIT' limit 60)"
    )
    shown, said = tuned_by_command(database, cluster.settings.home, "--build")
    assert "dropped the index of UIT, female" in said
    assert [group["plan"] for group in shown["groups"]][:2] == ["index", "exact"]


def test_command_refuses_contradictory_settings(cluster, database):
    done = call_command(
        cluster.settings.home,
        *("tune", "--index-from", "10", "--index-until", "20"),
        DATABASE_URL=database.owner,
    )

    assert done.returncode == 1
    assert "index goes below where it comes" in done.stderr


def scatter(conn):
    """Write two schools of one partition a face at a time, in turns."""
    schools = [
        school
        for (school,) in conn.execute(
            "select 'School ' || n from generate_series(1, 200) as n"
            " where satisfies_hash_partition("
            " 'public.face_index_dlib'::regclass, 16, 3, 'School ' || n)"
        ).fetchall()
    ][:2]
    for number in range(80):
        build.a_face(conn, build.a_profile(conn, school=schools[number % 2]), build.unit(number))
    return "face_index_dlib_3"


@pytest.mark.anyio
async def test_only_a_scattered_partition_is_clustered(owner, tuned):
    partition = scatter(owner)
    fates = [one_fate async for one_fate in tune.cluster_partitions(tuned[0], include_large=False)]
    again = [one_fate async for one_fate in tune.cluster_partitions(tuned[0], include_large=False)]

    assert len(fates) == 16
    assert [name for name, fate in fates if "put in order" in fate] == [partition]
    assert {fate for _, fate in again} == {"is in order"}
    assert one(owner, "select count(*) from public.face_index") == 80


@pytest.mark.anyio
async def test_partition_in_use_is_skipped_and_nobody_waits_for_it(
    owner, tuned, database, monkeypatch
):
    monkeypatch.setattr(tune, "_LOCK_ATTEMPTS", 2)
    monkeypatch.setattr(tune, "_LOCK_RETRY_S", 0.01)
    partition = scatter(owner)
    with connect(database.owner) as busy:
        busy.execute(f"lock table public.{partition} in access share mode")
        fates = dict(
            [one_fate async for one_fate in tune.cluster_partitions(tuned[0], include_large=False)]
        )

    assert fates[partition] == "is left: it is in use all the time"


def audited_job(conn):
    """Complete a job of a man who two women look like; return its id."""
    conn.execute("update automatch.search_settings set audit_one_in = 1")
    for seed in range(2):
        build.a_face(conn, build.a_profile(conn), like(build.unit(0), 0.8, seed=seed))
    man = build.a_profile(conn, gender="male")
    build.a_job(conn, build.a_face(conn, man, build.unit(0)))
    job, token = build.claim(conn)
    build.complete(conn, job, token)
    return job


AUDITS = "select job_id, school, gender, expected, found from automatch.search_audits"
RECALL = "select audits, recall, short_answers from public.get_search_recall()"


def test_search_that_found_everybody_has_full_recall(conn):
    job = audited_job(conn)
    conn.execute("set constraints all immediate")

    assert conn.execute(AUDITS).fetchall() == [(job, "UIT", "female", 2, 2)]
    assert conn.execute(RECALL).fetchone() == (1, 1.0, 0)


def test_search_that_missed_somebody_is_counted_as_short(conn):
    job = audited_job(conn)
    conn.execute("delete from public.matches where id in (select id from public.matches limit 1)")
    conn.execute("set constraints all immediate")

    assert conn.execute(AUDITS).fetchall() == [(job, "UIT", "female", 2, 1)]
    assert conn.execute(RECALL).fetchone() == (1, 0.5, 1)


def test_somebody_who_came_after_the_search_is_not_counted_as_missed(conn):
    audited_job(conn)
    newcomer = build.a_face(conn, build.a_profile(conn), build.unit(0))
    build.a_job(conn, newcomer)
    conn.execute("set constraints all immediate")

    assert conn.execute(RECALL).fetchone() == (1, 1.0, 0)


def test_search_that_finds_nobody_has_no_recall(conn):
    conn.execute("update automatch.search_settings set audit_one_in = 1")
    build.a_match(conn, build.a_face(conn, build.a_profile(conn), build.unit(0)))
    conn.execute("set constraints all immediate")

    assert conn.execute(RECALL).fetchone() == (1, None, 0)


def test_one_search_in_a_thousand_is_audited(conn):
    audited = one(
        conn,
        "select count(*) filter (where automatch.is_audited(gen_random_uuid()))"
        " from generate_series(1, 20000)",
    )

    assert 2 <= audited <= 60


@pytest.mark.anyio
async def test_worker_warns_when_searches_miss_people(database, owner, tmp_path):
    async with Database(database.worker, PoolSettings(), name="test") as db:
        photos = FolderPhotos(tmp_path, min_free_mb=0)
        maintenance = MaintenanceRunner(db, photos, WorkerSettings(), RetentionSettings())
        with capture_logs() as quiet:
            await maintenance.matching.check_recall()
        owner.execute(
            "insert into automatch.search_audits (job_id, school, gender, expected, found)"
            " values (gen_random_uuid(), 'UIT', 'female', 20, 19)"
        )
        with capture_logs() as logs:
            await maintenance.matching.check_recall()

    assert quiet == []
    assert [(entry["log_level"], entry["recall"]) for entry in logs] == [("warning", 0.95)]
