"""How long a change of the model takes, and what searches and uploads notice of it.

.venv/bin/python -m benchmarks.model_change [--faces 100000] [--write-docs]
"""

from __future__ import annotations

import argparse
import asyncio
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import numpy as np
import psycopg
from psycopg.errors import LockNotAvailable

from automatch.ops.bench.usage import describe_machine
from benchmarks.search import load
from benchmarks.search.data import THRESHOLD_COSINE, Floats, Population, School
from benchmarks.search.report import table
from benchmarks.search.server import own_postgres
from tests.support.build import a_face, a_profile, connect
from tests.support.bulk import copy_columns, write_embeddings

DOCS = Path(__file__).parents[1] / "docs" / "models.md"
SCHOOL = 2_000
BEFORE, AFTER = (128, 512)
"""Dimensions of the two models."""
NOISE = 0.35
"""Of the new embeddings, so that the new model does not find every match of the old one."""
MATCHES = 20
_MIDPOINT = (2 - 2 * THRESHOLD_COSINE) ** 0.5

_FEEDS = """
    insert into automatch.feed_entries (profile_id, other_profile_id, position, place, match_id)
    select s.person, s.other, s.position, s.position, s.match_id
    from (
        select s.person, s.other, m.id as match_id,
            row_number() over (partition by s.person order by m.similarity) as position
        from public.matches as m
        cross join lateral (
            values (m.profile_a_id, m.profile_b_id), (m.profile_b_id, m.profile_a_id)
        ) as s (person, other)
    ) as s
"""
_COUNTERS = """
    update automatch.feed_counters as c set last_position = e.entries
    from (
        select profile_id, count(*) as entries from automatch.feed_entries group by profile_id
    ) as e
    where e.profile_id = c.profile_id
"""
_SEARCH = """
    select count(s.face_id)
    from public.faces as f
    join public.face_embeddings as e
        on e.face_id = f.id and e.model = public.active_embedding_model()
    join public.profiles as p on p.id = f.profile_id
    left join lateral public.find_similar_faces_filtered(
        e.embedding, p.school, p.gender, f.profile_id
    ) as s on true
    where f.id = %s
"""
_CLAIM = """
    select id, lease_token, public.active_embedding_model()
    from public.claim_match_jobs(gen_random_uuid(), 1, '1 hour')
"""
_STORE = """
    select public.store_face_embeddings(
        array[%s::uuid], array[%s::bigint], array[%s::vector], %s, array['{}'::jsonb],
        array['{}'::jsonb]
    )
"""
_COMPLETE = "select * from public.complete_match_jobs(array[%s::uuid], array[%s::bigint])"
_PREPARED = """
    select public.store_prepared_embeddings('after', %s::uuid[], %s::vector[], %s::jsonb[])
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--faces", type=int, default=10_000)
    parser.add_argument("--shared-buffers-mb", type=int, default=1024)
    parser.add_argument("--write-docs", action="store_true", help="into docs/models.md")
    options = parser.parse_args()
    text = asyncio.run(measure(options))
    print(text)
    if options.write_docs:
        begin, end = "<!-- model change: begin -->", "<!-- model change: end -->"
        before, _, rest = DOCS.read_text().partition(begin)
        DOCS.write_text(f"{before}{begin}\n{text}\n{end}{rest.partition(end)[2]}")


async def measure(options: argparse.Namespace) -> str:
    async with own_postgres(options.shared_buffers_mb) as dsn:
        return await asyncio.to_thread(_measure, dsn, options.faces)


def _measure(dsn: str, faces: int) -> str:
    traffic = Traffic(dsn)
    rows: list[list[str]] = []
    with connect(dsn, autocommit=True) as conn:
        matches = _fill(conn, faces, traffic)

        def step(name: str, call: Callable[[], object]) -> None:
            traffic.drain()
            began = time.perf_counter()
            call()
            took = time.perf_counter() - began
            searches, uploads = traffic.drain()
            rows.append([name, f"{took:,.2f}", _times(searches), _times(uploads)])
            print(*rows[-1], sep=" | ", flush=True)

        with traffic:
            step("before it, 10 s", lambda: time.sleep(10))
            step("cutting over", lambda: _patiently(conn, "finish_model_change"))
            step("scoring the matches again", lambda: _rescore(conn))
            step("rolling back", lambda: _patiently(conn, "roll_back_model_change"))
            step("scoring the matches again", lambda: _rescore(conn))
            step("giving the other model up", lambda: _patiently(conn, "retire_model_change"))
    head = ["step", "seconds", "searches, ms: p50 / longest", "uploads, ms: p50 / longest"]
    return (
        f"{faces:,} faces with {matches:,} matches, from {BEFORE} to {AFTER} dimensions, while two "
        f"connections search and one uploads; {describe_machine()}, embedded Postgres 18.4.\n\n"
        + "\n".join(table(head, rows))
    )


def _fill(conn: psycopg.Connection, faces: int, traffic: Traffic) -> int:
    """Write the people with both models' embeddings and the matches; return how many matches."""
    population = Population(BEFORE)
    load.use_model(conn, BEFORE)
    schools = [population.school(number, SCHOOL) for number in range(faces // SCHOOL)]
    for school in schools:
        load.write_ours(conn, school)
    conn.execute("set session_replication_role = replica")
    for school in schools:
        _write_matches(conn, school)
    conn.execute(_FEEDS)
    conn.execute(_COUNTERS)
    conn.execute("set session_replication_role = default")
    conn.execute("select public.begin_model_change('after', %s, %s, 0.06, 0.2)", [AFTER, _MIDPOINT])
    rng = np.random.default_rng(1)
    turn = np.linalg.qr(rng.standard_normal((AFTER, BEFORE)))[0].astype(np.float32)
    conn.execute("set session_replication_role = replica")
    for school in schools:
        own = rng.standard_normal((school.size, AFTER)).astype(np.float32) / AFTER**0.5
        new = school.faces @ turn.T + NOISE * own
        new /= np.linalg.norm(new, axis=1, keepdims=True)
        women = school.size // 2
        for gender, part in (("female", slice(women)), ("male", slice(women, None))):
            write_embeddings(conn, school.name, gender, school.ids[part], new[part], model="after")
    conn.execute("set session_replication_role = default")
    conn.execute("vacuum (analyze)")
    traffic.faces = [UUID(bytes=face.tobytes()) for face in schools[0].ids]
    traffic.school = schools[0].name
    traffic.embeddings = {"after": new[:women]}
    traffic.embeddings[load.MODEL] = schools[-1].candidates
    count = conn.execute("select count(*) from public.matches").fetchone()
    assert count is not None
    return int(count[0])


def _write_matches(conn: psycopg.Connection, school: School) -> None:
    women = school.size // 2
    cosines = school.faces[women:] @ school.candidates.T
    best = np.argpartition(-cosines, MATCHES, axis=1)[:, :MATCHES]
    chosen = np.take_along_axis(cosines, best, axis=1)
    man, place = np.nonzero(chosen >= THRESHOLD_COSINE)
    his, hers = school.ids[women + man], school.ids[best[man, place]]
    swap = np.array([a.tobytes() > b.tobytes() for a, b in zip(his, hers, strict=True)])
    first, second = (np.where(swap[:, None], *pair) for pair in ((hers, his), (his, hers)))
    numbers = chosen[man, place].astype(">f8").view(np.uint8).reshape(-1, 8)
    version = conn.execute(
        "select scale_version from public.embedding_models where active"
    ).fetchone()
    assert version is not None
    # A moment of their own, as the matches of different jobs have: microseconds since 2000.
    moments = 8e14 + 1e6 * int(school.name.split()[-1]) + np.arange(len(first))
    copy_columns(
        conn,
        "public.matches (face_a_id, face_b_id, profile_a_id, profile_b_id, similarity, cosine,"
        " created_at, scale_version)",
        [
            *(first, second, first, second, numbers, numbers),
            moments.astype(">i8").view(np.uint8).reshape(-1, 8),
            np.tile(np.array([version[0]], ">i4").view(np.uint8), (len(first), 1)),
        ],
    )


def _patiently(conn: psycopg.Connection, function: str) -> None:
    """Call as the command does: again when somebody is in the way."""
    while True:
        try:
            conn.execute(f"select public.{function}('benchmark')")
        except LockNotAvailable:
            print(f"{function}: again", flush=True)
        except psycopg.DatabaseError as exc:
            # An upload of this moment that the new model has yet to see.
            if exc.diag.message_hint != "model_not_ready":
                raise
        else:
            return


def _rescore(conn: psycopg.Connection) -> None:
    """Score the matches as workers do; 0 may also mean that another session holds the row."""
    while conn.execute("select rescored from automatch.model_changes").fetchone() != (True,):
        conn.execute("select public.rescore_matches_for_model()")


def _times(seconds: list[float]) -> str:
    if not seconds:
        return "-"
    return f"{1000 * np.median(seconds):.1f} / {1000 * max(seconds):.1f} of {len(seconds):,}"


@dataclass
class Traffic:
    """Two connections that search, one that uploads, and one that prepares the new model."""

    dsn: str
    faces: list[UUID] = field(default_factory=list)
    school: str = ""
    embeddings: dict[str, Floats] = field(default_factory=dict)
    """Of strangers to upload, by model."""
    _searches: list[float] = field(default_factory=list)
    _uploads: list[float] = field(default_factory=list)
    _stop: threading.Event = field(default_factory=threading.Event)
    _threads: list[threading.Thread] = field(default_factory=list)
    _errors: list[BaseException] = field(default_factory=list)

    def __enter__(self) -> None:
        for call in (self._search, self._search, self._upload, self._prepare):
            thread = threading.Thread(target=self._repeat, args=[call])
            thread.start()
            self._threads.append(thread)

    def __exit__(self, *exc_info: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()
        if self._errors:
            raise self._errors[0]

    def drain(self) -> tuple[list[float], list[float]]:
        """Return the seconds of the searches and uploads since the last call."""
        searches, self._searches = self._searches, []
        uploads, self._uploads = self._uploads, []
        return searches, uploads

    def _repeat(self, call: Callable[[psycopg.Connection, np.random.Generator], None]) -> None:
        rng = np.random.default_rng(2)
        try:
            with connect(self.dsn, autocommit=True) as conn:
                while not self._stop.is_set():
                    call(conn, rng)
        except BaseException as exc:
            self._errors.append(exc)

    def _search(self, conn: psycopg.Connection, rng: np.random.Generator) -> None:
        began = time.perf_counter()
        conn.execute(_SEARCH, [self.faces[rng.integers(len(self.faces))]])
        self._searches.append(time.perf_counter() - began)

    def _upload(self, conn: psycopg.Connection, rng: np.random.Generator) -> None:
        with conn.transaction():
            person = a_profile(conn, school=self.school)
            face = a_face(conn, person, face_id=uuid4())
            conn.execute("select public.enqueue_match_job(%s)", [face])
        began = time.perf_counter()
        # A roll-back queues what came in since, so that there may be more than the one.
        while (claimed := conn.execute(_CLAIM).fetchone()) is not None:
            job, token, model = claimed
            embedding = self._stranger(model, rng)
            if conn.execute(_STORE, [job, token, embedding, model]).fetchone() is not None:
                conn.execute(_COMPLETE, [job, token])
            now = time.perf_counter()
            self._uploads.append(now - began)
            began = now
        self._stop.wait(0.02)

    def _prepare(self, conn: psycopg.Connection, rng: np.random.Generator) -> None:
        faces = [
            face
            for (face,) in conn.execute(
                "select face_id from public.take_faces_to_embed('after', 8, '1 hour', true)"
            ).fetchall()
        ]
        if faces:
            embeddings = [self._stranger("after", rng) for _ in faces]
            conn.execute(_PREPARED, [faces, embeddings, ["{}"] * len(faces)])
        else:
            self._stop.wait(0.05)

    def _stranger(self, model: str, rng: np.random.Generator) -> Any:
        rows = self.embeddings[model]
        return rows[rng.integers(len(rows))]


if __name__ == "__main__":
    main()
