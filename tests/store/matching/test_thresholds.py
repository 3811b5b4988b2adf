"""A new threshold, and searching again for everybody: bounded, behind all uploads, never lost."""

from __future__ import annotations

import asyncio

import psycopg
import pytest

from automatch.settings import Settings
from automatch.vision import Embedder
from tests.support import build
from tests.support.build import acting, connect, like, one, refused
from tests.support.postgres import Database, TestCluster
from tests.support.system import System, running_worker
from tests.support.waiting import PATIENCE_S

CENTER = build.unit(0)


def set_threshold(conn, threshold, rerun=False):
    return one(conn, "select public.set_match_threshold(%s, %s, 'me')", threshold, rerun)


def enqueue(conn, most=500):
    return one(conn, "select public.enqueue_reruns(%s)", most)


def waiting(conn):
    return conn.execute(
        "select priority, count(*) from public.match_jobs where status = 'pending' group by 1"
    ).fetchall()


def people(conn, count, **values):
    return [
        build.a_face(conn, build.a_profile(conn, **values), build.unit(seed))
        for seed in range(count)
    ]


def state(conn):
    return conn.execute(
        "select threshold, photos, rerun_left from public.get_match_threshold()"
    ).fetchone()


def test_threshold_applies_to_later_searches_and_is_audited(conn):
    she, _ = build.a_pair(conn, 0.45)
    assert build.a_match(conn, she[1]) == 0
    assert set_threshold(conn, 0.4) == 0
    assert (waiting(conn), state(conn)) == ([], (0.4, 2, 0))

    assert build.a_match(conn, she[1]) == 1
    book = conn.execute("select actor, action, details from public.list_audit_log()").fetchall()
    assert book == [
        ("me", "threshold", {"threshold": 0.4, "before": 0.5, "rerun": False, "photos": 0})
    ]


@pytest.mark.parametrize("threshold", [0, 1, -0.5, 2, "nan", None])
def test_invalid_threshold_is_refused(conn, threshold):
    with refused("input_invalid"):
        set_threshold(conn, threshold)


def test_rerun_finds_people_who_reach_the_new_threshold(conn):
    she, he = build.a_pair(conn, 0.45)
    assert set_threshold(conn, 0.4, rerun=True) == 2
    assert enqueue(conn) == 2
    for job, token in build.claim_some(conn, 2):
        build.complete(conn, job, token)

    with acting(conn, she[0]):
        assert one(conn, "select profile_id from public.feed_page()") == he[0]


def test_photos_are_enqueued_in_steps_once_each_within_the_limit(conn):
    faces = people(conn, 7)
    set_threshold(conn, 0.4, rerun=True)
    assert (enqueue(conn, 3), waiting(conn), state(conn)[2]) == (3, [(3, 3)], 4)
    assert (enqueue(conn, 3), waiting(conn)) == (0, [(3, 3)])
    searched = []
    while jobs := build.claim_some(conn, 2):
        for job, token in jobs:
            searched.append(one(conn, "select face_id from match_jobs where id = %s", job))
            build.complete(conn, job, token)
        enqueue(conn, 3)

    assert searched == sorted(faces)
    assert (enqueue(conn, 3), state(conn)[2]) == (0, 0)


def test_pending_uploads_go_first(conn):
    people(conn, 4)
    set_threshold(conn, 0.4, rerun=True)
    uploads = {build.a_job(conn, build.a_face(conn, build.a_profile(conn))) for _ in range(3)}
    assert enqueue(conn, 3) == 0

    assert enqueue(conn, 5) == 2
    late = build.a_job(conn, build.a_face(conn, build.a_profile(conn)))
    assert {job for job, _ in build.claim_some(conn, 4)} == uploads | {late}


def test_newer_rerun_replaces_the_older_one(conn):
    people(conn, 4)
    set_threshold(conn, 0.4, rerun=True)
    enqueue(conn, 2)
    set_threshold(conn, 0.3, rerun=True)

    assert state(conn)[2] == 4
    assert enqueue(conn) == 4
    assert waiting(conn) == [(3, 4)]
    assert enqueue(conn) == 0
    assert one(conn, "select count(*) from automatch.reruns where finished_at is null") == 0


def test_photos_that_would_find_nobody_or_only_fail_are_left_out(conn):
    people(conn, 1)
    build.a_face(conn, build.a_profile(conn))
    people(conn, 1, school=None)
    people(conn, 1, gender=None)
    conn.execute(
        "update public.profiles set simulated = true where id = %s",
        [one(conn, "select profile_id from faces where id = %s", people(conn, 1)[0])],
    )
    assert set_threshold(conn, 0.4, rerun=True) == 1
    enqueue(conn)

    assert waiting(conn) == [(3, 1)]


def test_two_workers_at_once_queue_no_photo_twice(sessions):
    first, second, watcher = sessions.first, sessions.second, sessions.watcher
    people(first, 4)
    set_threshold(first, 0.4, rerun=True)
    first.commit()

    assert (enqueue(first, 2), enqueue(second, 2)) == (2, 0)
    first.commit()
    second.commit()
    assert waiting(watcher) == [(3, 2)]


@pytest.mark.anyio
async def test_worker_enqueues_the_rerun(
    server: System, settings: Settings, cluster: TestCluster, database: Database, embedder: Embedder
) -> None:
    her, him = await server.join("female"), await server.join("male")
    with connect(database.owner) as conn:
        build.a_face(conn, her.id, CENTER)
        build.a_face(conn, him.id, like(CENTER, 0.45))
        set_threshold(conn, 0.4, rerun=True)
    quick = settings.model_copy(
        update={"worker": settings.worker.model_copy(update={"sweep_s": 0.2})}
    )

    async with (
        her.stream(after=0) as events,
        running_worker(quick, cluster.secrets, embedder),
        asyncio.timeout(PATIENCE_S),
    ):
        async for event in events:
            if event.kind == "match":
                break
    assert event.data["profile"]["id"] == him.id


@pytest.mark.anyio
async def test_worker_finishes_the_rescoring_of_a_command(
    server: System, settings: Settings, cluster: TestCluster, database: Database, embedder: Embedder
) -> None:
    her, him = await server.join("female"), await server.join("male")
    with connect(database.owner) as conn:
        face = build.a_face(conn, her.id, CENTER)
        build.a_face(conn, him.id, like(CENTER, 0.8))
        build.a_match(conn, face)
        conn.execute("select public.add_similarity_scale('dlib', 0.5, 0.03, '{}')")

    async with (
        her.stream() as events,
        running_worker(settings, cluster.secrets, embedder),
        asyncio.timeout(PATIENCE_S),
    ):
        async for event in events:
            if event.kind == "match":
                break
    assert event.data["similarity"] == 0.9
    with psycopg.connect(database.owner) as conn:
        assert one(conn, "select scale_version from public.matches") == 2
