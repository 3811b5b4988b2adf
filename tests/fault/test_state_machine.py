"""Everything that can happen to jobs, in any order: the database behaves like a model of it.

Hypothesis picks what happens next, and after every step what must be true is checked. Each run is
one transaction that is rolled back. `AUTOMATCH_TEST_LONG=1` tries for minutes instead of seconds.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import psycopg
import pytest
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from psycopg.types.json import Jsonb

from tests.support import build
from tests.support.build import acting, connect, one
from tests.support.forbidden_states import find_forbidden_states

LONG = bool(os.environ.get("AUTOMATCH_TEST_LONG"))
NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)
LEASE = timedelta(seconds=30)
SCHOOLS = ["UIT", "HCMUS"]
WORKERS = [uuid4() for _ in range(3)]
FACE = build.unit(0)
"""Of everybody: so whom a search finds is plain."""
OPEN = {"pending", "processing"}
CLOCK = """
    create or replace function automatch.now() returns timestamptz language sql volatile
    as $$ select current_setting('test.now')::timestamptz $$
"""
"""Unlike build.set_clock() it invalidates no plans, and this clock moves often."""
BOX = {"left": 0.1, "top": 0.1, "width": 0.2, "height": 0.2}
EVERYTHING = "select to_jsonb(j) from public.match_jobs as j order by id"


@dataclass
class Person:
    gender: str
    school: str
    photos: dict[str, UUID]
    """The face of each photo, by the hash of the photo."""


@dataclass(frozen=True)
class Job:
    face: UUID
    person: UUID
    school: str
    status: str
    token: int
    attempts: int
    scheduled: bool
    run_at: datetime | None
    """None while the school is paused."""
    isolated: bool
    lease_until: datetime | None
    completed_at: datetime | None
    asks: bool = False
    """The index of the person's face among several."""


picks = st.integers(0, 1_000)
some = st.lists(picks, min_size=1, max_size=4)
schools = st.sampled_from(SCHOOLS)
workers = st.integers(0, len(WORKERS) - 1)


class Queue(RuleBasedStateMachine):
    """The rules are the actions of people, workers, operators and the clock."""

    conn: psycopg.Connection

    def __init__(self) -> None:
        super().__init__()
        self.people: dict[UUID, Person] = {}
        self.jobs: dict[UUID, Job] = {}
        self.held: list[dict[UUID, int]] = [{} for _ in WORKERS]
        """The jobs that each worker believes it holds."""
        self.embedded: set[UUID] = set()
        self.chosen: dict[UUID, int] = {}
        """The face that the person of a photo chose."""
        self.paused: set[str] = set()
        self.all_paused = False
        self.concurrency: int | None = None
        self.now = NOON

    @initialize()
    def open(self) -> None:
        self.clock_moves(0)
        for gender, school in (("female", "UIT"), ("male", "UIT"), ("male", "HCMUS")):
            self.join(gender, school)
        self.everybody_uploads("a")
        self.everybody_uploads("b")

    def teardown(self) -> None:
        self.conn.rollback()

    # People.

    @precondition(lambda self: len(self.people) < 6)
    @rule(gender=st.sampled_from(["female", "male"]), school=schools)
    def join(self, gender: str, school: str) -> None:
        person = build.a_profile(self.conn, gender=gender, school=school)
        self.people[person] = Person(gender, school, {})

    @precondition(lambda self: self.people)
    @rule(who=picks, photo=st.sampled_from("abc"))
    def upload(self, who: int, photo: str) -> None:
        person = self._pick(self.people, who)
        face_id, digest = uuid4(), photo * 64
        with acting(self.conn, person):
            face, job, status, is_new = self._record_upload(face_id, digest)
            if job is None:
                assert not self._jobs_of(face)
                # The file is stored again at the place of the face.
                _, job, status, _ = self._record_upload(face, digest)

        photos = self.people[person].photos
        assert is_new == (digest not in photos)
        assert photos.setdefault(digest, face) == face
        if job in self.jobs:
            assert (status, self.jobs[job].face) == (self.jobs[job].status, face)
        else:
            assert is_new or not self._jobs_of(face), "a photo with a job got a second one"
            self._queued(job, person, face)

    @rule(photo=st.sampled_from("abc"))
    def everybody_uploads(self, photo: str) -> None:
        for who in range(len(self.people)):
            self.upload(who, photo)

    @precondition(lambda self: self.jobs)
    @rule(which=picks, index=st.sampled_from([0, 1, 1, 2]))
    def choose_face(self, which: int, index: int) -> None:
        job_id = self._pick(self.jobs, which)
        job = self.jobs[job_id]
        busy = any(other.status in OPEN for other in self._jobs_of(job.face))
        if job.asks and index < 2 and not busy:
            assert self._choose(job_id, index) == "pending"
            self.chosen[job.face] = index
            self.jobs[job_id] = replace(
                job,
                school=self.people[job.person].school,
                attempts=0,
                isolated=False,
                completed_at=None,
            )
            self._waits_again(job_id)
            return
        before = self._everything()
        if not job.asks and self.chosen.get(job.face) == index:
            assert self._choose(job_id, index) == job.status
        else:
            wrong = "input_invalid" if job.asks and index == 2 else "face_not_asked"
            with build.refused(wrong), self.conn.transaction():
                self._choose(job_id, index)
        assert self._everything() == before

    def _choose(self, job_id: UUID, index: int) -> str:
        with acting(self.conn, self.jobs[job_id].person):
            return one(
                self.conn, "select job_status from public.choose_face(%s, %s)", job_id, index
            )

    @rule(who=picks, what=st.sampled_from(["photo", "photo", "consent", "account"]))
    def erase(self, who: int, what: str) -> None:
        if what == "photo" and self._faces():
            self._delete_photo(who)
        elif what == "consent" and self.people:
            self._withdraw_consent_and_return(who)
        elif what == "account" and len(self.people) > 2:
            self._erase_account(who)

    def _delete_photo(self, which: int) -> None:
        face = self._pick(self._faces(), which)
        person = self._faces()[face]
        with acting(self.conn, person):
            self.conn.execute("select public.delete_face(%s)", [face])
        self._gone(lambda job: job.face == face)
        photos = self.people[person].photos
        self.people[person].photos = {k: v for k, v in photos.items() if v != face}

    def _withdraw_consent_and_return(self, who: int) -> None:
        person = self._pick(self.people, who)
        with acting(self.conn, person):
            self.conn.execute("select public.record_consent(false)")
            self.conn.execute("select public.record_consent(true, '2026-11')")
        self._gone(lambda job: job.person == person)
        self.people[person].photos = {}

    def _erase_account(self, who: int) -> None:
        person = self._pick(self.people, who)
        self.conn.execute("delete from public.profiles where id = %s", [person])
        self._gone(lambda job: job.person == person)
        del self.people[person]

    # Workers.

    @rule(worker=workers, limit=st.integers(1, 6))
    def claim(self, worker: int, limit: int) -> None:
        due = {
            job_id
            for job_id, job in self.jobs.items()
            if job.status == "pending"
            and (not job.scheduled or (job.run_at is not None and job.run_at <= self.now))
        }
        claimable = {job_id for job_id in due if self.jobs[job_id].school not in self.paused}
        if self.concurrency is not None:
            limit = min(limit, self.concurrency - self._count_of(worker))
        claimed = self.conn.execute(
            "select id, lease_token, attempts, isolated, is_embedded, face_id"
            " from public.claim_match_jobs(%s, %s, %s)",
            [WORKERS[worker], limit, LEASE],
        ).fetchall()

        if self.all_paused or limit <= 0:
            assert claimed == []
        else:
            assert bool(claimed) == bool(claimable)
            alone = any(isolated for *_, isolated, _, _ in claimed)
            waits_alone = any(self.jobs[job_id].isolated for job_id in claimable)
            assert len(claimed) == 1 if alone else len(claimed) <= limit
            if not waits_alone:
                assert len(claimed) == min(limit, len(claimable))
        for job_id, token, attempts, _, is_embedded, face in claimed:
            job = self.jobs[job_id]
            assert job_id in claimable, "claimed before its turn, or of a paused school"
            assert (face, is_embedded) == (job.face, job.face in self.embedded)
            assert (token, attempts) == (job.token + 1, job.attempts + 1)
            self.held[worker][job_id] = token
            self.jobs[job_id] = replace(
                job,
                status="processing",
                scheduled=False,
                token=token,
                attempts=attempts,
                lease_until=self.now + LEASE,
            )
        # Due jobs were given a turn, or were found to be of a school that is paused by now.
        for job_id in due - self._ids(claimed):
            self._reread(job_id)

    @rule(worker=workers)
    def claim_all(self, worker: int) -> None:
        self.claim(worker, 6)

    @rule(frozen=workers, further=st.integers(1, len(WORKERS) - 1))
    def frozen_worker_continues_after_losing_its_jobs(self, frozen: int, further: int) -> None:
        self.claim(frozen, 3)
        self.clock_moves(31)
        self.sweep()
        # Isolated jobs are claimed one by one.
        for _ in range(3):
            self.claim((frozen + further) % len(WORKERS), 6)
        self.worker_without_its_leases_writes_late(frozen)

    @rule(worker=workers)
    def work(self, worker: int) -> None:
        self.store_embeddings(worker)
        self.complete(worker)

    @rule(worker=workers)
    def renew_leases(self, worker: int) -> None:
        mine, ids, tokens = self._believed(worker)
        answer = self._ask("select public.renew_match_leases(%s, %s, %s)", ids, tokens, LEASE)
        assert answer == mine
        self._lost(worker, mine)
        for job_id in mine:
            self.jobs[job_id] = replace(self.jobs[job_id], lease_until=self.now + LEASE)

    @rule(worker=workers)
    def store_embeddings(self, worker: int) -> None:
        mine, ids, tokens = self._believed(worker)
        answer = self._ask(
            "select public.store_face_embeddings(%s, %s, %s, 'dlib', %s, %s)",
            *(ids, tokens, [FACE] * len(ids)),
            *([Jsonb({})] * len(ids), [Jsonb({"embed_ms": 1})] * len(ids)),
        )
        assert answer == mine
        self._lost(worker, mine)
        self.embedded |= {self.jobs[job_id].face for job_id in mine}

    @rule(worker=workers)
    def complete(self, worker: int) -> None:
        mine, ids, tokens = self._believed(worker, only_embedded=True)
        rows = self.conn.execute(
            "select job_id, match_count from public.complete_match_jobs(%s, %s)", [ids, tokens]
        ).fetchall()
        assert self._ids(rows) == mine
        for job_id, count in rows:
            assert count == self._lookalikes(self.jobs[job_id].person)
            self._ends(job_id, "completed")
        # After a lost response the same call gives the same result, and changes nothing.
        before = self._everything()
        again = self.conn.execute(
            "select job_id, match_count from public.complete_match_jobs(%s, %s)", [ids, tokens]
        ).fetchall()
        assert sorted(again) == sorted(rows)
        assert self._everything() == before
        self._forget(worker, ids)

    @rule(worker=workers)
    def fail(self, worker: int) -> None:
        mine, ids, tokens = self._believed(worker)
        told = [["no_face"] * len(ids), ["No face."] * len(ids)]
        answer = self._ask("select public.fail_match_jobs(%s, %s, %s, %s)", ids, tokens, *told)
        assert answer == mine
        for job_id in mine:
            self._ends(job_id, "failed")
        self._forget(worker, ids)

    @rule(worker=workers, answer=st.sampled_from([None, 0, 1, 1]))
    def ask_for_a_face(self, worker: int, answer: int | None) -> None:
        self.claim(worker, 3)
        mine, ids, tokens = self._believed(worker)
        told = [
            ["several_faces"] * len(ids),
            ["2 faces."] * len(ids),
            [Jsonb([BOX, BOX])] * len(ids),
        ]
        failed = self._ask(
            "select public.fail_match_jobs(%s, %s, %s, %s, %s::jsonb[])", ids, tokens, *told
        )
        assert failed == mine
        for job_id in mine:
            self._ends(job_id, "failed")
            self.jobs[job_id] = replace(self.jobs[job_id], asks=True)
        self._forget(worker, ids)
        if answer is not None:
            for job_id in mine:
                self.choose_face(list(self.jobs).index(job_id), answer)

    @rule(worker=workers, delay_s=st.sampled_from([0, 2, 600]))
    def retry(self, worker: int, delay_s: int) -> None:
        mine, ids, tokens = self._believed(worker)
        told = [["job_crashed"] * len(ids), ["It broke."] * len(ids)]
        rows = self.conn.execute(
            "select job_id, status from public.retry_match_jobs(%s, %s, %s, %s, %s, %s)",
            [ids, tokens, *told, delay_s, delay_s],
        ).fetchall()
        assert self._ids(rows) == mine
        for job_id, status in rows:
            assert status == ("pending" if self.jobs[job_id].attempts < 5 else "failed")
            self._waits_again(job_id) if status == "pending" else self._ends(job_id, "failed")
        self._forget(worker, ids)

    @rule(worker=workers, delay_s=st.sampled_from([0, 5]))
    def release(self, worker: int, delay_s: int) -> None:
        mine, ids, tokens = self._believed(worker)
        count = one(
            self.conn,
            "select public.release_match_jobs(%s, %s, make_interval(secs => %s))",
            *(ids, tokens, delay_s),
        )
        assert count == len(mine)
        for job_id in mine:
            job = self.jobs[job_id]
            self.jobs[job_id] = replace(job, attempts=job.attempts - 1)
            self._waits_again(job_id)
        self._forget(worker, ids)

    @rule()
    def sweep(self) -> None:
        lost = {
            job_id
            for job_id, job in self.jobs.items()
            if job.lease_until is not None and job.lease_until < self.now
        }
        assert one(self.conn, "select public.sweep_match_jobs()") == len(lost)
        for job_id in lost:
            job = self.jobs[job_id]
            self.jobs[job_id] = job = replace(job, token=job.token + 1, isolated=True)
            if job.attempts < 5:
                self._waits_again(job_id)
            else:
                self._ends(job_id, "failed")

    @rule(worker=workers)
    def worker_without_its_leases_writes_late(self, worker: int) -> None:
        ids = [job for job in self.held[worker] if not self._holds(worker, job)]
        tokens = [self.held[worker][job] for job in ids]
        finished = [
            job
            for job, token in zip(ids, tokens, strict=True)
            # Another worker may have completed it since, with another token.
            if job in self.jobs
            and (self.jobs[job].status, self.jobs[job].token) == ("completed", token)
        ]
        assert finished == [], "what a worker completed it does not believe to hold"
        texts = [["x"] * len(ids)] * 2
        before = self._everything()
        for query, more in (
            ("select public.renew_match_leases(%s, %s, '1 day')", []),
            ("select public.complete_match_jobs(%s, %s)", []),
            ("select public.fail_match_jobs(%s, %s, %s, %s)", texts),
            ("select public.retry_match_jobs(%s, %s, %s, %s, 1, 1)", texts),
        ):
            assert self.conn.execute(query, [ids, tokens, *more]).fetchall() == []
        query = "select public.release_match_jobs(%s, %s)"
        assert one(self.conn, query, ids, tokens) == 0
        assert self._everything() == before
        self._forget(worker, ids)

    # The clock.

    @rule(seconds=st.sampled_from([1, 3, 20, 31, 31, 700, 86_400, -1, -40, -4_000]))
    def clock_moves(self, seconds: int) -> None:
        self.now += timedelta(seconds=seconds)
        self.conn.execute("select set_config('test.now', %s, false)", [self.now.isoformat()])

    @rule(hours=st.sampled_from([1, 24]))
    def erase_unanswered(self, hours: int) -> None:
        self.clock_moves(hours * 3600 + 1)
        long_ago = self.now - timedelta(hours=hours)
        gone = {
            job.face
            for job in self.jobs.values()
            if job.asks
            and job.completed_at is not None
            and job.completed_at < long_ago
            # Not accepted, and not held by a worker.
            and job.face not in self.embedded
            and not any(other.status in OPEN for other in self._jobs_of(job.face))
        }
        query = "select public.erase_unanswered_photo(make_interval(hours => %s))"
        assert sum(iter(lambda: one(self.conn, query, hours), 0)) == len(gone)
        self._gone(lambda job: job.face in gone)
        for person in self.people.values():
            person.photos = {k: v for k, v in person.photos.items() if v not in gone}

    @rule(hours=st.sampled_from([1, 24]))
    def clean_up(self, hours: int) -> None:
        self.clock_moves(hours * 3600 + 1)
        long_ago = self.now - timedelta(hours=hours)
        created = dict(self.conn.execute("select id, created_at from public.match_jobs").fetchall())
        old = {
            job_id
            for job_id, job in self.jobs.items()
            if job.completed_at is not None
            and job.completed_at < long_ago
            and created[job_id] < long_ago
        }
        query = "select public.cleanup_old_match_jobs(make_interval(hours => %s))"
        assert one(self.conn, query, hours) == len(old)
        for job_id in old:
            del self.jobs[job_id]

    # The operator.

    @rule(school=schools)
    def pause_or_resume(self, school: str) -> None:
        if school in self.paused:
            self.conn.execute("select public.resume_match_jobs(%s)", [school])
            self.paused.discard(school)
            for job_id, job in self.jobs.items():
                if job.school == school and job.status == "pending" and job.run_at is None:
                    self._reread(job_id)
        elif all(person.school != school for person in self.people.values()):
            # Its last person was erased: a name that nobody has pauses nothing, and says so.
            with build.refused("input_invalid"), self.conn.transaction():
                self.conn.execute("select public.pause_match_jobs(%s)", [school])
        else:
            self.conn.execute("select public.pause_match_jobs(%s)", [school])
            self.paused.add(school)
            for job_id, job in self.jobs.items():
                if job.school == school and job.status == "pending":
                    self.jobs[job_id] = replace(job, scheduled=True, run_at=None)

    @rule(worker=workers)
    def pause_all_for_a_while(self, worker: int) -> None:
        self.conn.execute("select public.pause_match_jobs()")
        self.all_paused = True
        self.claim(worker, 6)
        self.conn.execute("select public.resume_match_jobs()")
        self.all_paused = False

    @rule(worker=workers, jobs=st.integers(1, 3))
    def limit_concurrency_for_a_while(self, worker: int, jobs: int) -> None:
        self.conn.execute("select public.set_match_concurrency(%s)", [jobs])
        self.concurrency = jobs
        self.claim(worker, 6)
        self.claim(worker, 6)
        self.conn.execute("select public.set_match_concurrency(null)")
        self.concurrency = None

    @precondition(lambda self: self.jobs)
    @rule(which=st.none() | some)
    def retry_failed(self, which: list[int] | None) -> None:
        ids = None if which is None else [self._pick(self.jobs, one) for one in which]
        wanted = {
            job_id
            for job_id, job in self.jobs.items()
            if job.status == "failed"
            and (ids is None or job_id in ids)
            and not any(other.status in OPEN for other in self._jobs_of(job.face))
        }
        count = one(self.conn, "select public.retry_failed_match_jobs(%s)", ids)
        assert count == len({self.jobs[job_id].face for job_id in wanted})
        again = self.conn.execute(
            "select id from public.match_jobs where id = any (%s) and status = 'pending'",
            [list(wanted)],
        ).fetchall()
        assert len(again) == count
        for (job_id,) in again:
            self.jobs[job_id] = replace(
                self.jobs[job_id], attempts=0, isolated=False, completed_at=None
            )
            self._waits_again(job_id)

    @precondition(lambda self: self.jobs)
    @rule(which=some)
    def cancel(self, which: list[int]) -> None:
        ids = {self._pick(self.jobs, one) for one in which}
        open_jobs = {job_id for job_id in ids if self.jobs[job_id].status in OPEN}
        count = one(self.conn, "select public.cancel_match_jobs(%s)", list(ids))
        assert count == len(open_jobs)
        for job_id in open_jobs:
            job = self.jobs[job_id]
            self.jobs[job_id] = replace(job, token=job.token + 1)
            self._ends(job_id, "failed")

    @precondition(lambda self: self.jobs)
    @rule(which=picks, threshold=st.none() | st.just(0.9))
    def requeue(self, which: int, threshold: float | None) -> None:
        job = self.jobs[self._pick(self.jobs, which)]
        query = "select public.requeue_match_job(%s, %s)"
        new = one(self.conn, query, self._pick(self.jobs, which), threshold)
        open_jobs = [other for other in self._jobs_of(job.face) if other.status in OPEN]
        assert (new in self.jobs) == bool(open_jobs)
        if not open_jobs:
            self._queued(new, job.person, job.face)

    @precondition(lambda self: self.jobs)
    @rule(which=some, priority=st.sampled_from([1, 2, 3]))
    def prioritize(self, which: list[int], priority: int) -> None:
        ids = list({self._pick(self.jobs, one) for one in which})
        self.conn.execute("select public.prioritize_match_jobs(%s, %s::smallint)", [ids, priority])
        rows = self.conn.execute(
            "select id from public.match_jobs where id = any (%s) and status = 'pending'"
            " and priority <> %s",
            [ids, priority],
        )
        assert rows.fetchall() == []

    # Invariants after every step.

    @invariant()
    def model_and_database_agree(self) -> None:
        rows = self.conn.execute(
            "select id, face_id, user_id, school, status, lease_token, attempts, scheduled,"
            " nullif(run_at, 'infinity'), isolated, lease_expires_at, completed_at,"
            " face_boxes is not null"
            " from public.match_jobs"
        ).fetchall()
        found = {job_id: Job(*columns) for job_id, *columns in rows}
        assert found.keys() == self.jobs.keys(), "a job vanished, or came from nowhere"
        for job_id, job in found.items():
            # `run_at` of a job that is not scheduled does not matter.
            expected = self.jobs[job_id]
            shown = expected.run_at if expected.scheduled else job.run_at
            assert job == replace(expected, run_at=shown)

    @invariant()
    def no_forbidden_state(self) -> None:
        assert find_forbidden_states(self.conn) == []

    # The model.

    def _pick(self, things, number):
        return list(things)[number % len(things)]

    def _faces(self) -> dict[UUID, UUID]:
        return {
            face: person_id
            for person_id, person in self.people.items()
            for face in person.photos.values()
        }

    def _record_upload(self, face: UUID, digest: str) -> tuple[UUID, UUID | None, str | None, bool]:
        row = self.conn.execute(
            "select face_id, job_id, job_status, is_new from public.record_upload(%s, %s, %s)",
            [face, f"{face.hex[:2]}/{face}", digest],
        ).fetchone()
        assert row is not None
        return row

    def _jobs_of(self, face: UUID) -> list[Job]:
        return [job for job in self.jobs.values() if job.face == face]

    def _ids(self, rows) -> set[UUID]:
        return {row[0] for row in rows}

    def _ask(self, query: str, *parameters) -> set[UUID]:
        return self._ids(self.conn.execute(query, parameters).fetchall())

    def _everything(self):
        return [
            self.conn.execute(query).fetchall()
            for query in (EVERYTHING, "select * from automatch.feed_entries order by 1, 2")
        ]

    def _holds(self, worker: int, job_id: UUID) -> bool:
        job = self.jobs.get(job_id)
        return (
            job is not None
            and job.status == "processing"
            and job.token == self.held[worker][job_id]
        )

    def _count_of(self, worker: int) -> int:
        return sum(self._holds(worker, job_id) for job_id in self.held[worker])

    def _believed(self, worker: int, *, only_embedded: bool = False):
        """Return the jobs that a worker holds, and those it believes it holds, with its tokens."""
        believed = self.held[worker]
        if only_embedded:
            believed = {
                job_id: token
                for job_id, token in believed.items()
                if job_id in self.jobs and self.jobs[job_id].face in self.embedded
            }
        mine = {job_id for job_id in believed if self._holds(worker, job_id)}
        return mine, list(believed), list(believed.values())

    def _forget(self, worker: int, ids) -> None:
        for job_id in ids:
            self.held[worker].pop(job_id, None)

    def _lost(self, worker: int, mine: set[UUID]) -> None:
        """Let a worker sometimes drop what it is told that it lost, and sometimes not."""
        if len(mine) % 2:
            self._forget(worker, set(self.held[worker]) - mine)

    def _queued(self, job_id: UUID, person: UUID, face: UUID) -> None:
        school = self.people[person].school
        paused = school in self.paused
        run_at = None if paused else self.now
        self.jobs[job_id] = Job(
            *(face, person, school, "pending", 0, 0),
            *(paused, run_at, False, None, None),
        )

    def _ends(self, job_id: UUID, status: str) -> None:
        self.jobs[job_id] = replace(
            self.jobs[job_id],
            status=status,
            scheduled=False,
            lease_until=None,
            completed_at=self.now,
            asks=False,
        )

    def _waits_again(self, job_id: UUID) -> None:
        self.jobs[job_id] = replace(
            self.jobs[job_id], status="pending", lease_until=None, asks=False
        )
        self._reread(job_id)

    def _reread(self, job_id: UUID) -> None:
        """Copy when a scheduled job is due: delays are random."""
        row = self.conn.execute(
            "select scheduled, nullif(run_at, 'infinity') from public.match_jobs where id = %s",
            [job_id],
        ).fetchone()
        assert row is not None
        self.jobs[job_id] = replace(self.jobs[job_id], scheduled=row[0], run_at=row[1])

    def _gone(self, is_gone) -> None:
        self.jobs = {job_id: job for job_id, job in self.jobs.items() if not is_gone(job)}

    def _lookalikes(self, person_id: UUID) -> int:
        """Return how many people a search for this person finds: everybody has one face."""
        me = self.people[person_id]
        return sum(
            other.school == me.school
            and other.gender != me.gender
            and any(face in self.embedded for face in other.photos.values())
            for other in self.people.values()
        )


@pytest.mark.timeout(3600 if LONG else 240)
def test_queue_behaves_like_the_model(database) -> None:
    with connect(database.owner) as conn:
        # A statement that waits for a lock here would wait for ever.
        conn.execute("set lock_timeout = '60s'")
        conn.execute(CLOCK)
        conn.commit()
        run_state_machine_as_test(
            type("Queue", (Queue,), {"conn": conn}),
            settings=settings(
                max_examples=1_000 if LONG else 25,
                stateful_step_count=60 if LONG else 40,
                derandomize=not LONG,
                # A failing example is not shrunk: that takes minutes.
                phases=tuple(Phase) if LONG else [Phase.generate],
            ),
        )
