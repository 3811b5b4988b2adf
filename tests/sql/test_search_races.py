"""Searches while people upload, move and withdraw: who stays is found, and who left is not."""

from __future__ import annotations

import asyncio
import random
from threading import Barrier

import numpy as np
import pytest

from automatch.search.batch import BatchSearch
from automatch.settings.database import PoolSettings
from automatch.settings.worker import WorkerSettings
from automatch.store.database import Database
from automatch.store.queue import queue
from automatch.store.queue.queue import BatchCompletion
from tests.support import build
from tests.support.build import acting, connect, like, one
from tests.support.jobs import claimed_jobs

STORE = "select public.store_face_embeddings(%s, %s, %s, 'dlib', %s, %s)"
COMPLETE = "select match_count from public.complete_match_jobs(%s, %s)"
FIND = """
    select profile_id from public.find_similar_faces_filtered(%s, 'UIT', 'male', match_count := 100)
"""


def keep_and_search(conn, job, embedding, together, in_step):
    """Do what a worker does with one photo: keep the embedding, commit, search, commit."""
    job_id, token = job
    together.wait()
    conn.execute(STORE, [[job_id], [token], [embedding], ["{}"], ["{}"]])
    conn.commit()
    if in_step:
        together.wait()
    ((count,),) = conn.execute(COMPLETE, [[job_id], [token]]).fetchall()
    conn.commit()
    return count


def test_two_who_upload_at_once_always_see_each_other(sessions):
    first, second, third = sessions.first, sessions.second, sessions.third
    for seed in range(25):
        she, he = build.a_profile(first), build.a_profile(first, gender="male")
        for person in (she, he):
            build.a_job(first, build.a_face(first, person))
        jobs = build.claim_some(first, 2)
        first.commit()
        center, together = build.unit(seed), Barrier(2, timeout=60)
        searching = [
            # The first time each searches once both are kept; then as it happens.
            sessions.threads.submit(keep_and_search, conn, job, vector, together, seed == 0)
            for conn, job, vector in zip(
                (second, third), jobs, (center, like(center, 0.9)), strict=True
            )
        ]
        counts = [one_of_them.result() for one_of_them in searching]
        assert seed > 0 or counts == [1, 1], "both were there when each searched"
        feeds = []
        for person in (she, he):
            with acting(first, person):
                feeds.append(one(first, "select array_agg(profile_id) from public.feed_page()"))

        assert feeds == [[he], [she]]
        assert one(first, "select count(*) from public.matches") == 1
        first.execute("delete from public.profiles where id = any (%s)", [[she, he]])
        first.commit()


def test_search_that_begins_before_the_others_commit_is_found_by_the_others_search(sessions):
    first, second = sessions.first, sessions.second
    she, he = build.a_profile(first), build.a_profile(first, gender="male")
    for person in (she, he):
        build.a_job(first, build.a_face(first, person))
    hers, his = build.claim_some(first, 2)
    first.commit()
    for conn, (job, token) in ((first, hers), (second, his)):
        conn.execute(STORE, [[job], [token], [build.unit(0)], ["{}"], ["{}"]])
    first.commit()
    alone = first.execute(COMPLETE, [[hers[0]], [hers[1]]]).fetchall()
    second.commit()
    later = second.execute(COMPLETE, [[his[0]], [his[1]]]).fetchall

    first.commit()
    assert (alone, later()) == ([(0,)], [(1,)])
    second.commit()
    with acting(first, she):
        assert one(first, "select profile_id from public.feed_page()") == he


def test_newcomer_appears_in_the_feeds_of_those_already_there(conn):
    women = [build.a_profile(conn) for _ in range(3)]
    for seed, woman in enumerate(women):
        build.a_match(conn, build.a_face(conn, woman, like(build.unit(0), 0.8, seed=seed)))
    newcomer = build.a_profile(conn, gender="male")
    build.a_match(conn, build.a_face(conn, newcomer, build.unit(0)))

    for woman in women:
        with acting(conn, woman):
            assert one(conn, "select array_agg(profile_id) from public.feed_page()") == [newcomer]


MOVES = [
    "update public.profiles set school = 'HCMUS' where id = %s",
    "update public.profiles set school = 'UIT' where id = %s",
    "update public.profiles set discoverable = false where id = %s",
    "update public.profiles set discoverable = true where id = %s",
    "update public.face_embeddings set quality = quality"
    " where face_id in (select id from public.faces where profile_id = %s)",
]


def stir(dsn, movers, seed, rounds):
    """Move people about, write and erase newcomers; each change is a commit."""
    rng = random.Random(seed)
    with connect(dsn, autocommit=True) as conn:
        newcomers = []
        for step in range(rounds):
            conn.execute(rng.choice(MOVES), [rng.choice(movers)])
            newcomer = build.a_profile(conn)
            build.a_face(conn, newcomer, like(build.unit(0), 0.7, seed=step))
            newcomers.append(newcomer)
            if len(newcomers) > 3:
                leaving = newcomers.pop(0)
                build.record_consent(conn, leaving, "withdrawn")


@pytest.mark.anyio
async def test_searches_during_moves_miss_nobody_who_stays_and_find_nobody_who_left(
    database, sessions
):
    owner = sessions.watcher
    rng = np.random.default_rng(0)
    women = [build.a_profile(owner) for _ in range(45)]
    for seed, woman in enumerate(women):
        build.a_face(owner, woman, like(build.unit(0), rng.uniform(0.75, 0.9), seed=seed))
    stayers, movers, gone = set(women[:15]), women[15:35], set(women[35:])
    for woman in gone:
        build.record_consent(owner, woman, "withdrawn")
    owner.execute("update public.match_settings set match_count = 100")
    men = [build.a_profile(owner, gender="male") for _ in range(4 * 8)]
    for seed, man in enumerate(men):
        build.a_job(
            owner, build.a_face(owner, man, build.at_cosine(build.unit(0), 0.9999, seed=seed))
        )
    last = claimed_jobs(owner, 4)
    stirring = [sessions.threads.submit(stir, database.owner, movers, seed, 60) for seed in (1, 2)]
    async with Database(database.worker, PoolSettings(), name="test") as db:
        search = BatchSearch(db, max_bytes=64 * 1024**2)

        async def complete(jobs):
            candidates = await search.find_candidates(jobs)
            await queue.complete_batch(
                db, BatchCompletion(jobs, candidates=candidates), WorkerSettings()
            )
            singly = {person for (person,) in owner.execute(FIND, [build.unit(0)]).fetchall()}
            assert stayers <= singly
            assert not gone & singly
            return len(candidates)

        while jobs := claimed_jobs(owner, 4):
            await complete(jobs)
        for one_of_them in stirring:
            await asyncio.to_thread(one_of_them.result)
        # A group that changes at every look is left to the database; now it is quiet.
        with_candidates = await complete(last)
    found = owner.execute(
        "select array_agg(m.profile_a_id) || array_agg(m.profile_b_id) from public.matches as m"
        " join public.match_jobs as j on j.face_id in (m.face_a_id, m.face_b_id)"
        # Who moves is searched for again as well.
        " where j.user_id = any (%s) group by j.id",
        [men],
    ).fetchall()

    assert with_candidates == len(last)
    assert len(found) == 32
    for (people,) in found:
        assert stayers <= set(people)
        assert not gone & set(people)
