"""People who change their minds while workers work: nobody waits in a circle, nothing is lost."""

from __future__ import annotations

import random
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest

from tests.support import build
from tests.support.build import acting, connect, like, one

CENTER = build.unit(0)
THREADS = 5
ACTS = 60

# Every allowed pair that is alike enough is matched, and matched people are in both feeds.
UNMATCHED = """
    select count(*)
    from public.faces as a
    join public.faces as b on b.profile_id > a.profile_id
    cross join public.embedding_models as m
    join public.face_embeddings as e_a on e_a.model = m.id and e_a.face_id = a.id
    join public.face_embeddings as e_b on e_b.model = m.id and e_b.face_id = b.id
    cross join public.match_settings as s
    where m.active
      and automatch.may_see(a.profile_id, b.profile_id)
      and automatch.may_see(b.profile_id, a.profile_id)
      and automatch.similarity(
          -(e_a.embedding operator(extensions.<#>) e_b.embedding), m.midpoint, m.width
      ) > s.threshold
      and not exists (
          select from automatch.feed_entries as e
          join automatch.feed_entries as f
              on f.profile_id = e.other_profile_id and f.other_profile_id = e.profile_id
          where e.profile_id = a.profile_id and e.other_profile_id = b.profile_id
            and e.match_id is not null and f.match_id = e.match_id
      )
"""


def work_off(conn, limit=4):
    jobs = build.claim_some(conn, limit)
    if jobs:
        conn.execute(
            "select * from public.complete_match_jobs(%s, %s)",
            [[job for job, _ in jobs], [token for _, token in jobs]],
        )
    return bool(jobs)


def act(conn, rng, people):
    """Do one thing that a person, an operator or a worker may do."""
    person, other = rng.sample(people, 2)
    school = rng.choice(["UIT", "UIT", "HCMUS"])
    match rng.randrange(12):
        case 0:
            conn.execute("update profiles set school = %s where id = %s", [school, person])
        case 1:
            shown = rng.random() < 0.7
            conn.execute("update profiles set discoverable = %s where id = %s", [shown, person])
        case 2 | 3 as which:
            name = ("block_profile", "unblock_profile")[which - 2]
            with acting(conn, person):
                conn.execute(f"select public.{name}(%s)", [other])
        case 4:
            with acting(conn, person):
                conn.execute(
                    "select public.dismiss_match(id) from public.matches order by id limit 1"
                )
        case 5:
            with acting(conn, person):
                conn.execute("select public.undo_dismissal(%s)", [other])
        case 6:
            face = build.a_face(conn, person, like(CENTER, 0.9, seed=rng.randrange(10**6)))
            build.a_job(conn, face)
        case 7:
            with acting(conn, person):
                conn.execute("select public.delete_face(id) from public.faces order by id limit 1")
        case 8:
            scale = [rng.uniform(0.4, 0.7)]
            conn.execute("select public.add_similarity_scale('dlib', %s, 0.04, '{}')", scale)
        case 9:
            conn.execute("select public.rescore_matches(20)")
        case 10:
            conn.execute("select public.set_match_threshold(0.05, true)")
        case _:
            conn.execute("select public.enqueue_reruns(50)")


@pytest.mark.parametrize("seed", [1, 2])
def test_changes_at_once_neither_lock_each_other_out_nor_lose_a_match(database, seed):
    with connect(database.owner) as conn:
        conn.execute("update public.match_settings set threshold = 0.05, match_count = 100")
        people = [build.a_profile(conn, gender=("male", "female")[n % 2]) for n in range(12)]
        for n, person in enumerate(people):
            build.a_job(conn, build.a_face(conn, person, like(CENTER, 0.9, seed=n)))

    def run(number):
        rng = random.Random(f"{seed} {number}")
        unexpected = []
        with connect(database.owner, autocommit=True) as conn:
            for _ in range(ACTS):
                try:
                    with conn.transaction():
                        act(conn, rng, people)
                except psycopg.Error as exc:
                    # Refused, because there is no such block or match; anything else is a fault.
                    if exc.sqlstate != "AM001":
                        unexpected.append(str(exc))
                work_off(conn)
        return unexpected

    with ThreadPoolExecutor(THREADS) as threads:
        unexpected = [fault for faults in threads.map(run, range(THREADS)) for fault in faults]
    assert unexpected == []

    with connect(database.owner, autocommit=True) as conn:
        while work_off(conn, 50) or one(conn, "select public.enqueue_reruns()"):
            pass
        while one(conn, "select public.rescore_matches()"):
            pass
        assert one(conn, UNMATCHED) == 0
        assert one(
            conn,
            "select count(*) from public.matches as x"
            " join public.embedding_models as m on m.scale_version = x.scale_version"
            " where x.similarity = automatch.similarity(x.cosine, m.midpoint, m.width)",
        ) == one(conn, "select count(*) from public.matches")
