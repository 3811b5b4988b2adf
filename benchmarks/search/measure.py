"""Times and recall of one contender in one school, and searches a second."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import psycopg

from automatch.model.jobs import ClaimedJob
from automatch.search.batch import BatchSearch
from automatch.settings.database import PoolSettings
from automatch.store.database import Database
from benchmarks.search.contenders import COUNT, OURS, Contender, Flat, rows_of
from benchmarks.search.data import Floats, School, best_people
from tests.support.build import connect

BATCH = 64

_JOBS = """
    insert into public.match_jobs
        (face_id, user_id, school, status, attempts, lease_token, lease_expires_at, worker_id,
         position)
    select face_id, profile_id, school, 'processing', 1, 1, now() + interval '1 hour',
        gen_random_uuid(), 1
    from public.face_index where school = %s and gender = 'male' limit %s
    returning id, face_id
"""
_RANK = """
    select found.job_id, found.face_id
    from unnest(automatch.rank_candidates(%s, 'female', %s, %s, %s, %s)) as found
"""


@dataclass(frozen=True)
class Result:
    """What a contender did in the schools of one size."""

    name: str
    candidates: int
    recall: float
    """Share of the exact answers that was found."""
    rows: float
    """Found per search."""
    expected: float
    p50_ms: float
    p99_ms: float

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def in_turns(
    dsn: str, contenders: Sequence[Contender], school: School, queries: Floats
) -> list[Result]:
    """Ask all of them each question before the next, so that a busy moment meets all of them."""
    searches: dict[str, Callable[[Floats], list[int]]] = {}
    with contextlib.ExitStack() as stack:
        for contender in contenders:
            conn = stack.enter_context(connect(dsn, autocommit=True))
            searches[contender.name] = _prepared(conn, contender, school)
        flat = Flat(school)
        searches[flat.name] = lambda query: flat.search(query[None])[0]
        times: dict[str, list[float]] = {name: [] for name in searches}
        answers: dict[str, list[list[int]]] = {name: [] for name in searches}
        for warm, query in enumerate([*queries[:3], *queries], start=-3):
            for name, search in searches.items():
                began = time.perf_counter()
                answer = search(query)
                if warm >= 0:
                    times[name].append(time.perf_counter() - began)
                    answers[name].append(answer)
    return [_result(name, school, queries, answers[name], times[name]) for name in searches]


def _prepared(
    conn: psycopg.Connection, contender: Contender, school: School
) -> Callable[[Floats], list[int]]:
    contender.prepare(conn)
    rows = rows_of(school)
    return lambda query: rows(contender.search(conn, school.name, query))


def _result(
    name: str,
    school: School,
    queries: Floats,
    answers: Sequence[Sequence[int]],
    times: Sequence[float],
) -> Result:
    exact = [best_people(school.candidates, query, COUNT) for query in queries]
    expected = sum(map(len, exact))
    right = sum(len(set(a) & set(b)) for a, b in zip(answers, exact, strict=True))
    return Result(
        name=name,
        candidates=len(school.candidates),
        recall=right / expected if expected else 1.0,
        rows=sum(map(len, answers)) / len(answers),
        expected=expected / len(answers),
        p50_ms=float(np.percentile(times, 50)) * 1000,
        p99_ms=float(np.percentile(times, 99)) * 1000,
    )


def flat_batch(school: School, queries: Floats) -> Result:
    flat = Flat(school)
    times, answers = [], []
    for _ in range(5):
        began = time.perf_counter()
        answers = flat.search(queries)
        times.append((time.perf_counter() - began) / len(queries))
    return _result(f"{flat.name}, batch of {BATCH}", school, queries, answers, times)


async def batch(dsn: str, school: School) -> list[Result]:
    """Return the times per job with a copy of the group that has to be read, and with one kept."""
    with connect(dsn, autocommit=True) as conn:
        conn.execute("set session_replication_role = replica")
        jobs = make_jobs(conn, school.name, BATCH)
        rows = rows_of(school)
        queries = school.faces[rows([job.face_id for job in jobs])]
        results = []
        async with Database(dsn, PoolSettings(), name="bench") as db:
            kept = BatchSearch(db, max_bytes=1024**3)
            await _answer(conn, kept, school, jobs)
            for name, search in (
                (f"{OURS}, batch of {len(jobs)}", lambda: kept),
                (f"{OURS}, first batch", lambda: BatchSearch(db, max_bytes=1024**3)),
            ):
                times, found = [], {}
                for _ in range(7):
                    began = time.perf_counter()
                    found = await _answer(conn, search(), school, jobs)
                    times.append((time.perf_counter() - began) / len(jobs))
                answers = [rows(found.get(job.id, [])) for job in jobs]
                results.append(_result(name, school, queries, answers, times))
        conn.execute("delete from public.match_jobs")
    return results


def make_jobs(conn: psycopg.Connection, school: str, count: int) -> list[ClaimedJob]:
    """Give men of a school jobs that are held already."""
    made = conn.execute(_JOBS, [school, count]).fetchall()
    return [ClaimedJob(job, 1, 1, 5, face, "", True, False, 1) for job, face in made]


async def _answer(
    conn: psycopg.Connection, search: BatchSearch, school: School, jobs: Sequence[ClaimedJob]
) -> dict[Any, list[Any]]:
    lists = await search.find_candidates(jobs)
    ends = np.cumsum([len(lists[job.id].face_ids) for job in jobs]).tolist()
    starts = [1, *(end + 1 for end in ends[:-1])]
    faces = [face for job in jobs for face in lists[job.id].face_ids]
    found: dict[Any, list[Any]] = {}
    for job_id, face in conn.execute(
        _RANK, [school.name, [job.id for job in jobs], starts, ends, faces]
    ).fetchall():
        found.setdefault(job_id, []).append(face)
    return found


def per_second(
    dsn: str, contender: Contender, schools: Sequence[School], queries: Floats, connections: int
) -> float:
    """Return searches a second, where each face of the population asks equally often."""
    weights = np.array([school.size for school in schools], float)
    rng = np.random.default_rng(0)
    asked = rng.choice(len(schools), len(queries), p=weights / weights.sum())
    ready = threading.Barrier(connections + 1)

    def work(number: int) -> None:
        with connect(dsn, autocommit=True) as conn:
            contender.prepare(conn)
            contender.search(conn, schools[0].name, queries[0])
            ready.wait()
            for index in range(number, len(queries), connections):
                contender.search(conn, schools[asked[index]].name, queries[index])

    threads = [threading.Thread(target=work, args=(number,)) for number in range(connections)]
    for thread in threads:
        thread.start()
    ready.wait()
    began = time.perf_counter()
    for thread in threads:
        thread.join()
    return len(queries) / (time.perf_counter() - began)
