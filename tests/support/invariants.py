"""What is true after every fault, and the journal from which it is seen.

The journal is a trigger in the test's own database: it writes down every change of state in the
transaction that makes it, so what it shows is what was committed, in the order of each row's locks.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby, pairwise
from uuid import UUID

import numpy as np
import psycopg
from psycopg.rows import class_row

from automatch.search import DLIB

_JOURNAL = """
    create schema journal;
    create table journal.changes (
        id bigint generated always as identity primary key,
        at timestamptz not null default clock_timestamp(),
        job_id uuid not null,
        old_status text, status text not null,
        old_token bigint, token bigint not null,
        old_attempts smallint, attempts smallint not null,
        old_worker_id uuid, worker_id uuid,
        error_code text
    );
    create function journal.note() returns trigger
    language plpgsql security definer set search_path = pg_catalog, pg_temp
    as $$
    begin
        insert into journal.changes (
            job_id, old_status, status, old_token, token, old_attempts, attempts,
            old_worker_id, worker_id, error_code
        ) values (
            new.id, old.status, new.status, old.lease_token, new.lease_token,
            old.attempts, new.attempts, old.worker_id, new.worker_id, new.error_code
        );
        return null;
    end
    $$;
    create trigger journal_queued after insert on public.match_jobs
        for each row execute function journal.note();
    create trigger journal_changed after update on public.match_jobs
        for each row
        when ((old.status, old.lease_token, old.attempts)
              is distinct from (new.status, new.lease_token, new.attempts))
        execute function journal.note();
"""
_SLOW_COMPLETION = """
    create function journal.slow_down() returns trigger
    language plpgsql set search_path = pg_catalog, pg_temp
    as $$ begin perform pg_sleep({seconds}); return new; end $$;
    create trigger slow_completion before update on public.match_jobs
        for each row when (
            new.status = 'completed' and old.status = 'processing'
            and new.id is distinct from {quick}
        )
        execute function journal.slow_down();
"""

# Who moves a job, by (status before, after, change of the token, change of the attempts).
_CLAIM = ("pending", "processing", 1, 1)
_COMPLETE = ("processing", "completed", 0, 0)
_FAIL = ("processing", "failed", 0, 0)
_RETRY = ("processing", "pending", 0, 0)
_RELEASE = ("processing", "pending", 0, -1)
_SWEEP = ("processing", "pending", 1, 0)
_EXHAUST = ("processing", "failed", 1, 0)
_NAMES = {
    _CLAIM: "claimed",
    _COMPLETE: "completed",
    _FAIL: "failed",
    _RETRY: "retried",
    _RELEASE: "released",
    _SWEEP: "expired",
    _EXHAUST: "exhausted",
}


@dataclass(frozen=True)
class Change:
    """One committed change of a job's state."""

    at: datetime
    job_id: UUID
    old_status: str | None
    status: str
    old_token: int | None
    token: int
    old_attempts: int | None
    attempts: int
    old_worker_id: UUID | None
    worker_id: UUID | None
    error_code: str | None

    @property
    def name(self) -> str:
        """What happened; fails when nothing that may happen looks like this."""
        if self.old_status is None:
            assert (self.status, self.token, self.attempts) == ("pending", 0, 0), self
            return "queued"
        assert self.old_token is not None
        assert self.old_attempts is not None
        step = (
            self.old_status,
            self.status,
            self.token - self.old_token,
            self.attempts - self.old_attempts,
        )
        assert step in _NAMES, f"no function does this: {self}"
        return _NAMES[step]


def keep_journal(conn: psycopg.Connection, *, job_s: float = 0) -> None:
    """Write down every change from now on; let completing a job take so long, lock and all."""
    conn.execute(_JOURNAL)
    if job_s:
        slow_down(conn, job_s)
    conn.commit()


def slow_down(conn: psycopg.Connection, job_s: float, *, but_for: UUID | None = None) -> None:
    """Let completing a job take so long from now on, lock and all, but for one of them."""
    quick = f"'{but_for}'::uuid" if but_for else "null::uuid"
    conn.execute(_SLOW_COMPLETION.format(seconds=job_s, quick=quick))
    conn.commit()


def read_journal(conn: psycopg.Connection) -> list[Change]:
    """Return all changes, job by job, each job's in their order."""
    with conn.cursor(row_factory=class_row(Change)) as cursor:
        cursor.execute(
            "select at, job_id, old_status, status, old_token, token, old_attempts, attempts,"
            " old_worker_id, worker_id, error_code from journal.changes order by job_id, id"
        )
        changes = cursor.fetchall()
    conn.commit()
    return changes


def count_open(conn: psycopg.Connection) -> int:
    """Return how many jobs have not ended."""
    row = conn.execute(
        "select count(*) from public.match_jobs where status in ('pending', 'processing')"
    ).fetchone()
    conn.commit()
    assert row is not None
    return int(row[0])


def check_invariants(conn: psycopg.Connection, acknowledged: Iterable[UUID]) -> Counter[str]:
    """Check all that has to be true once the queue is empty; return how often each change was."""
    steps = _check_jobs(conn, set(acknowledged))
    _check_matches(conn)
    _check_feeds(conn)
    conn.commit()
    return steps


def _check_jobs(conn: psycopg.Connection, acknowledged: set[UUID]) -> Counter[str]:
    rows = conn.execute(
        "select id, status, attempts, max_attempts, error_code, error_message"
        " from public.match_jobs"
    ).fetchall()
    assert acknowledged <= {row[0] for row in rows}, "an acknowledged job is gone"
    for job, status, attempts, max_attempts, code, message in rows:
        assert status in {"completed", "failed"}, f"{job} has not ended: {status}"
        assert status == "completed" or (code and message), f"{job} failed without a reason"
        assert 1 <= attempts <= max_attempts, f"{job} took {attempts} attempts"

    steps: Counter[str] = Counter()
    changes = read_journal(conn)
    for job, group in groupby(changes, lambda change: change.job_id):
        history = list(group)
        for before, after in pairwise(history):
            seen = (after.old_status, after.old_token, after.old_attempts)
            assert seen == (before.status, before.token, before.attempts), (before, after)
        names = [change.name for change in history]
        ends = [name for name in names if name in {"completed", "failed", "exhausted"}]
        assert len(ends) == 1, f"{job} ended {len(ends)} times: {names}"
        tokens = [change.token for change in history if change.name == "claimed"]
        assert tokens == sorted(set(tokens)), f"{job}: two claims with one token"
        steps.update(names)
    assert steps["queued"] == len(rows)
    assert steps["queued"] == steps["completed"] + steps["failed"] + steps["exhausted"]
    return steps


def _check_matches(conn: psycopg.Connection) -> None:
    found = conn.execute(
        "select least(face_a_id, face_b_id), greatest(face_a_id, face_b_id) from public.matches"
    ).fetchall()
    assert len(found) == len(set(found)), "a pair is there twice"
    expected = _expected_pairs(conn)
    missing, wrong = expected - set(found), set(found) - expected
    assert not missing, f"{len(missing)} of {len(expected)} pairs are missing"
    assert not wrong, f"{len(wrong)} pairs are there that nobody should have found"


def _expected_pairs(conn: psycopg.Connection) -> set[tuple[UUID, UUID]]:
    """Return the pairs over the threshold of which one was searched for, by plain arithmetic."""
    rows = conn.execute(
        "select f.id, p.school, p.gender, e.embedding,"
        " exists (select from public.match_jobs as j"
        "         where j.face_id = f.id and j.status = 'completed')"
        " from public.faces as f join public.profiles as p on p.id = f.profile_id"
        " join public.face_embeddings as e on e.face_id = f.id order by f.id"
    ).fetchall()
    settings = conn.execute("select threshold from public.match_settings").fetchone()
    assert settings is not None
    bound = DLIB.cosine_bound(settings[0])
    pairs = set()
    for school in {row[1] for row in rows}:
        people = [row for row in rows if row[1] == school]
        vectors = np.array([row[3].to_numpy() for row in people], np.float32)
        women = np.array([row[2] == "female" for row in people])
        searched = np.array([row[4] for row in people])
        alike = vectors @ vectors.T >= bound
        alike &= women[:, None] != women[None, :]
        alike &= searched[:, None] | searched[None, :]
        pairs |= {(people[a][0], people[b][0]) for a, b in np.argwhere(np.triu(alike))}
    return pairs


def _check_feeds(conn: psycopg.Connection) -> None:
    """Every match is in both feeds once; positions have no gap and no double."""
    sides = conn.execute(
        "select profile_a_id, profile_b_id, id from public.matches"
        " union all select profile_b_id, profile_a_id, id from public.matches"
    ).fetchall()
    entries = conn.execute(
        "select profile_id, other_profile_id, match_id from automatch.feed_entries"
    ).fetchall()
    assert Counter(entries) == Counter(sides), "feeds and matches differ"
    broken = conn.execute(
        "select h.profile_id from automatch.feed_counters as h"
        " left join automatch.feed_entries as e using (profile_id)"
        " group by h.profile_id, h.last_position"
        " having count(e.position) <> h.last_position"
        " or coalesce(max(e.position), 0) <> h.last_position"
        " or coalesce(min(e.position), 1) <> 1 or count(distinct e.position) <> h.last_position"
    ).fetchall()
    assert not broken, f"{len(broken)} feeds have gaps or doubles"
