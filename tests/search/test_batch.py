"""Many jobs at once: the same answers as one by one, from a copy that is never out of date."""

from __future__ import annotations

import numpy as np
import pytest

from automatch.search.batch import BatchSearch
from automatch.search.group import Group
from automatch.settings.database import PoolSettings
from automatch.settings.worker import WorkerSettings
from automatch.store.matching import search as store_search
from automatch.store.queue import queue
from automatch.store.queue.queue import BatchCompletion
from tests.support import build
from tests.support.build import acting, at_cosine, connect, like, one
from tests.support.bulk import write_group
from tests.support.jobs import claimed_jobs
from tests.support.kept_pools import KeptDatabase

pytestmark = pytest.mark.anyio

WRITTEN = """
    select face_a_id, face_b_id, profile_a_id, profile_b_id, similarity
    from public.matches order by face_a_id, face_b_id
"""
COUNTS = "select id, match_count from public.match_jobs where status = 'completed' order by id"


@pytest.fixture
def owner(database):
    """Give a connection of the owner whose changes are committed."""
    with connect(database.owner, autocommit=True) as conn:
        yield conn


@pytest.fixture
async def db(database):
    async with KeptDatabase(
        database.worker, PoolSettings(min_size=1, max_size=2), name="test"
    ) as db:
        yield db


@pytest.fixture
def search(db):
    return BatchSearch(db, max_bytes=64 * 1024**2)


def men_who_ask(conn, count, *, school="UIT", center=None):
    """Write men with a photo each and claim their jobs."""
    center = build.unit(0) if center is None else center
    for seed in range(count):
        man = build.a_profile(conn, gender="male", school=school)
        build.a_job(conn, build.a_face(conn, man, at_cosine(center, 0.9995, seed=seed)))
    return claimed(conn, count)


def claimed(conn, count):
    jobs = claimed_jobs(conn, count)
    assert len(jobs) == count
    return jobs


def women(conn, count, *, school="UIT", similarity=(0.4, 0.9), seed=0):
    rng = np.random.default_rng(seed)
    people = [build.a_profile(conn, school=school) for _ in range(count)]
    for number, person in enumerate(people):
        vector = like(build.unit(0), rng.uniform(*similarity), seed=seed + number)
        build.a_face(conn, person, vector)
    return people


def answers(conn, jobs, candidates):
    """Return what finishing the jobs writes; nothing of it stays."""
    with conn.transaction(force_rollback=True):
        if candidates is None:
            statement = "select * from public.complete_match_jobs(%s, %s)"
            conn.execute(statement, [[job.id for job in jobs], [job.token for job in jobs]])
        else:
            lists = [candidates.get(job.id) for job in jobs]
            conn.execute(
                "select * from public.complete_match_jobs_with_candidates(%s, %s, %s, %s, %s, %s)",
                [
                    [job.id for job in jobs],
                    [job.token for job in jobs],
                    [one and one.school for one in lists],
                    [one and one.gender for one in lists],
                    [len(one.face_ids) if one else 0 for one in lists],
                    [face for one in lists if one for face in one.face_ids],
                ],
            )
        return conn.execute(COUNTS).fetchall(), conn.execute(WRITTEN).fetchall()


async def check_same(conn, search, jobs):
    """Check the batch against one search after the other; return the number of matches."""
    candidates = await search.find_candidates(jobs)
    together = answers(conn, jobs, candidates)
    assert together == answers(conn, jobs, None)
    return len(together[1])


@pytest.mark.parametrize("people", [0, 1, 19, 20, 21, 150])
async def test_batch_answers_like_one_search_after_the_other(owner, search, people):
    women(owner, people)
    jobs = men_who_ask(owner, 6)
    candidates = await search.find_candidates(jobs)

    assert candidates.keys() == {job.id for job in jobs}
    assert await check_same(owner, search, jobs) >= (people > 0)


async def test_ties_stand_in_the_same_order_and_a_cloud_of_them_is_read_whole(owner, search):
    for number in range(60):
        vector = at_cosine(build.unit(0), 0.95, seed=number // 30)
        build.a_face(owner, build.a_profile(owner), vector)
    jobs = men_who_ask(owner, 5)

    assert await check_same(owner, search, jobs) == 5 * 20


async def test_jobs_of_several_schools_and_genders_are_told_apart(owner, search):
    for number, school in enumerate(["UIT", "HCMUS"]):
        women(owner, 25, school=school, seed=100 * number)
    jobs = men_who_ask(owner, 5) + men_who_ask(owner, 5, school="HCMUS")
    for (face,) in owner.execute(
        "select face_id from public.face_index where gender = 'female' and school = 'UIT' limit 5"
    ).fetchall():
        build.a_job(owner, face)
    jobs += claimed(owner, 5)
    candidates = await search.find_candidates(jobs)

    assert len({(one.school, one.gender) for one in candidates.values()}) == 3
    assert await check_same(owner, search, jobs) > 100


async def test_jobs_with_a_threshold_of_their_own_keep_it(owner, search):
    women(owner, 30, similarity=(0.3, 0.7))
    jobs = men_who_ask(owner, 6)
    lenient, strict = jobs[0].id, jobs[1].id
    owner.execute("update public.match_jobs set threshold = 0.2 where id = %s", [lenient])
    owner.execute("update public.match_jobs set threshold = 0.8 where id = %s", [strict])

    assert await check_same(owner, search, jobs) > 0


async def test_few_jobs_of_a_group_are_left_to_the_database(owner, search):
    women(owner, 5)
    jobs = men_who_ask(owner, 3)

    assert await search.find_candidates(jobs) == {}


async def test_without_memory_every_search_is_left_to_the_database(owner, db):
    women(owner, 5)
    jobs = men_who_ask(owner, 6)

    assert await BatchSearch(db, max_bytes=0).find_candidates(jobs) == {}


@pytest.fixture
def reads(monkeypatch):
    """Give the number of faces that each look at a group has read; None where it was too large."""
    faces, original = [], store_search.read_group

    async def read_group(*parameters, **more):
        delta = await original(*parameters, **more)
        faces.append(None if delta is None else len(delta.faces))
        return delta

    monkeypatch.setattr(store_search, "read_group", read_group)
    return faces


async def test_a_group_is_parsed_and_searched_in_threads(owner, search, watched):
    women(owner, 20)
    jobs = men_who_ask(owner, 5)
    calls = [
        watched(store_search, "_parse"),
        watched(Group, "update"),
        watched(Group, "find_candidates"),
    ]

    await search.find_candidates(jobs)

    assert calls == [[True]] * 3


FACE_BYTES = 128 * 4 + 33


async def test_group_of_twice_the_cache_is_counted_once_and_never_read(owner, db, reads):
    search = BatchSearch(db, max_bytes=10 * FACE_BYTES)
    women(owner, 20)
    women(owner, 10, school="HCMUS")
    jobs = men_who_ask(owner, 5) + men_who_ask(owner, 5, school="HCMUS")

    for _ in range(3):
        found = await search.find_candidates(jobs)
        assert found.keys() == {job.id for job in jobs[5:]}

    # The other school's is read, and then looked at.
    assert reads == [10, None, 0, 0]
    assert await check_same(owner, search, jobs) > 0


async def test_group_that_does_not_fit_beside_one_in_use_is_left_to_the_database(owner, db, reads):
    search = BatchSearch(db, max_bytes=10 * FACE_BYTES)
    women(owner, 7)
    women(owner, 7, school="HCMUS")
    jobs = men_who_ask(owner, 5) + men_who_ask(owner, 5, school="HCMUS")

    for _ in range(3):
        await search.find_candidates(jobs)

    assert reads == [7, None, 0, 0]


async def test_copy_that_grows_out_of_the_cache_is_dropped(owner, db, reads):
    search = BatchSearch(db, max_bytes=10 * FACE_BYTES)
    women(owner, 8)
    jobs = men_who_ask(owner, 5)
    await search.find_candidates(jobs)
    women(owner, 8, seed=100)

    assert await check_same(owner, search, jobs) > 0
    assert search.bytes == 0
    assert await search.find_candidates(jobs) == {}


async def test_copy_that_is_not_used_is_forgotten(owner, db):
    women(owner, 5)
    jobs = men_who_ask(owner, 5)
    kept, forgotten = (BatchSearch(db, max_bytes=1024**2, keep_s=keep_s) for keep_s in (60, 0))
    for search in (kept, forgotten):
        await search.find_candidates(jobs)
        # The copy holds what is settled: a second look finds it so.
        assert await check_same(owner, search, jobs) > 0
    async with db.connection() as conn:
        await conn.execute("select")

    assert kept.bytes > 0
    assert forgotten.bytes == 0


def withdraws(conn, person):
    build.record_consent(conn, person, "withdrawn")


def hides(conn, person):
    conn.execute("update public.profiles set discoverable = false where id = %s", [person])


def shows_again(conn, person):
    conn.execute("update public.profiles set discoverable = true where id = %s", [person])


def moves_away(conn, person):
    conn.execute("update public.profiles set school = 'HCMUS' where id = %s", [person])


def moves_back(conn, person):
    conn.execute("update public.profiles set school = 'UIT' where id = %s", [person])


def is_erased(conn, person):
    conn.execute("delete from public.profiles where id = %s", [person])


def looks_different(conn, person):
    vector = like(build.unit(0), 0.3, seed=int(person.int % 1000))
    conn.execute(
        "update public.face_embeddings set embedding = %s"
        " where face_id in (select id from public.faces where profile_id = %s)",
        [vector, person],
    )


def adds_a_photo(conn, person):
    build.a_face(conn, person, like(build.unit(0), 0.95, seed=int(person.int % 1000)))


def blocks_a_searcher(conn, person):
    searcher = one(conn, "select user_id from public.match_jobs order by id limit 1")
    conn.execute("insert into public.profile_blocks values (%s, %s)", [person, searcher])


CHANGES = [
    *(withdraws, hides, moves_away, is_erased, looks_different, adds_a_photo, blocks_a_searcher)
]


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
async def test_copy_obeys_a_change_at_the_next_search(owner, search, change):
    people = women(owner, 30)
    jobs = men_who_ask(owner, 5)
    await check_same(owner, search, jobs)

    change(owner, people[0])
    assert await check_same(owner, search, jobs) > 0
    # Whose row the copy has settled by now.
    women(owner, 3, seed=50)
    change(owner, people[1])
    assert await check_same(owner, search, jobs) > 0


async def test_copy_obeys_any_number_of_changes_in_any_order(owner, search):
    rng = np.random.default_rng(0)
    people = women(owner, 40)
    jobs = men_who_ask(owner, 5)
    back = [shows_again, moves_back]
    for step in range(30):
        if step % 10 == 5:
            newcomers_in_bulk(owner, step)
        people += women(owner, int(rng.integers(0, 4)), seed=1000 + 10 * step)
        for _ in range(int(rng.integers(0, 4))):
            person = people[rng.integers(len(people))]
            change = [*CHANGES[1:3], *CHANGES[4:6], *back][rng.integers(6)]
            if change is not adds_a_photo or step % 2:
                change(owner, person)
        if step % 3 == 0:
            is_erased(owner, people.pop())
        await check_same(owner, search, jobs)


def newcomers_in_bulk(conn, seed):
    """Write more people at once than a copy reads again each time."""
    rng = np.random.default_rng(seed)
    faces = np.stack([like(build.unit(0), rng.uniform(0.1, 0.9), seed=n) for n in range(300)])
    conn.execute("set session_replication_role = replica")
    write_group(conn, "UIT", "female", rng.integers(0, 256, (300, 16), np.uint8), faces)
    conn.execute("set session_replication_role = default")


@pytest.mark.parametrize(
    "change", [withdraws, hides, moves_away, is_erased], ids=lambda change: change.__name__
)
async def test_who_leaves_between_search_and_end_is_not_found(owner, search, change):
    leaving, *_ = women(owner, 10, similarity=(0.8, 0.9))
    jobs = men_who_ask(owner, 5)
    candidates = await search.find_candidates(jobs)
    change(owner, leaving)
    _, written = answers(owner, jobs, candidates)

    assert len(written) == 5 * 9
    assert leaving not in {person for row in written for person in row[2:4]}


async def test_who_blocks_between_search_and_end_is_not_found(owner, search):
    blocking, *_ = women(owner, 10, similarity=(0.8, 0.9))
    jobs = men_who_ask(owner, 5)
    candidates = await search.find_candidates(jobs)
    blocks_a_searcher(owner, blocking)
    _, written = answers(owner, jobs, candidates)

    assert len(written) == 5 * 10 - 1


async def test_who_moves_between_search_and_end_is_searched_for_in_the_new_school(owner, search):
    women(owner, 10, similarity=(0.8, 0.9))
    there = women(owner, 3, school="HCMUS", similarity=(0.8, 0.9), seed=500)
    jobs = men_who_ask(owner, 5)
    mover = one(owner, "select user_id from public.match_jobs where id = %s", jobs[2].id)
    candidates = await search.find_candidates(jobs)
    moves_away(owner, mover)
    counts, written = answers(owner, jobs, candidates)

    # Moving gave the job back: it is searched for once more, by the new rules.
    assert sorted(count for _, count in counts) == [10, 10, 10, 10]
    assert not [row for row in written if mover in row[2:4]]
    again = claimed_jobs(owner, 5)
    _, written = answers(owner, again, await search.find_candidates(again))
    assert [job.id for job in again] == [jobs[2].id]
    with_mover = {person for row in written for person in row[2:4] if mover in row[2:4]}
    assert with_mover == {mover, *there}


async def test_worker_finishes_a_batch_with_its_candidates(owner, db, search):
    women(owner, 25, similarity=(0.6, 0.9))
    jobs = men_who_ask(owner, 6)
    lost, *held = jobs
    owner.execute(
        "update public.match_jobs set lease_token = lease_token + 1 where id = %s", [lost.id]
    )
    candidates = await search.find_candidates(jobs)
    settlement = BatchCompletion(jobs, candidates=candidates)
    settled = await queue.complete_batch(db, settlement, WorkerSettings())

    assert candidates.keys() == {job.id for job in held}
    assert settled.matches == {job.id: 20 for job in held}
    with acting(
        owner, one(owner, "select user_id from public.match_jobs where id = %s", held[0].id)
    ):
        assert one(owner, "select count(*) from public.feed_page()") == 20


async def test_embeddings_of_512_numbers_are_searched_for_alike(owner, search):
    owner.execute(
        "insert into public.embedding_models values ('long', 512, 1.0, 0.06, 0.2);"
        "select automatch.use_embedding_model('long')"
    )
    center = build.unit(0, 512)
    rng = np.random.default_rng(0)
    for number in range(40):
        vector = at_cosine(center, rng.uniform(0.4, 0.8), seed=number)
        build.a_face(owner, build.a_profile(owner), vector, model="long")
    for seed in range(5):
        man = build.a_profile(owner, gender="male")
        vector = at_cosine(center, 0.95, seed=seed)
        build.a_job(owner, build.a_face(owner, man, vector, model="long"))

    assert await check_same(owner, search, claimed(owner, 5)) > 50
