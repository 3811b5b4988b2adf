"""What /metrics tells of the database."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import psycopg
import pytest

from tests.support.build import (
    a_face,
    a_job,
    a_match,
    a_profile,
    claim,
    fail,
    one,
    set_clock,
    unit,
)

_NOON = datetime(2027, 1, 1, 12, tzinfo=UTC)


def _told(conn: psycopg.Connection) -> dict[tuple[str, str | None], float]:
    rows = conn.execute("select name, label, value from public.get_metrics()").fetchall()
    told = {(name, label): value for name, label, value in rows}
    assert len(told) == len(rows)
    return told


def test_open_jobs_are_counted_by_status_with_the_age_of_the_oldest(
    conn: psycopg.Connection,
) -> None:
    set_clock(conn, _NOON)
    waiting, later, held = (a_job(conn, a_face(conn, a_profile(conn))) for _ in range(3))
    claim(conn, lease_s=30)
    set_clock(conn, _NOON + timedelta(seconds=50))
    conn.execute(
        "update public.match_jobs set scheduled = true where id ="
        " (select id from public.match_jobs where status = 'pending' order by position limit 1)"
    )

    told = _told(conn)

    assert {waiting, later, held}
    for status in ("pending", "scheduled", "processing"):
        assert told["queue_jobs", status] == 1
        assert told["queue_oldest_seconds", status] == 50
    assert told["expired_leases", None] == 1
    assert told["workers", None] == 0


def test_jobs_are_told_for_ten_minutes_after_they_have_ended(conn: psycopg.Connection) -> None:
    set_clock(conn, _NOON)
    a_job(conn, a_face(conn, a_profile(conn)))
    job, token = claim(conn)
    fail(conn, job, token, "no_face")

    set_clock(conn, _NOON + timedelta(minutes=9))
    assert _told(conn)["recent_jobs_failed", "no_face"] == 1
    set_clock(conn, _NOON + timedelta(minutes=11))
    assert ("recent_jobs_failed", "no_face") not in _told(conn)


def test_size_of_a_group_is_counted_once_however_many_searched_it(
    conn: psycopg.Connection,
) -> None:
    for seed in range(3):
        a_match(conn, a_face(conn, a_profile(conn), unit(seed)))
    conn.execute(
        "update public.match_jobs set timings ="
        """ '{"claimed_ms": 100, "embedded_ms": 500, "searched_ms": 700, "written_ms": 701}'"""
    )
    conn.execute("set local track_functions = 'all'")

    told = _told(conn)

    assert told["recent_search_p95_seconds", "1000"] == pytest.approx(0.2)
    assert told["recent_stage_p95_seconds", "analyze"] == pytest.approx(0.4)
    assert told["recent_jobs_completed", None] == 3
    calls = "select calls from pg_stat_xact_user_functions where funcname = 'group_size_bucket'"
    assert one(conn, calls) == 1


def test_mails_paused_workers_and_our_cron_jobs_are_told(conn: psycopg.Connection) -> None:
    set_clock(conn, _NOON)
    for address, failed in (("a@example.org", False), ("b@example.org", True)):
        conn.execute("select public.enqueue_mail('recovery', %s)", [address])
        conn.execute(
            "update automatch.mails set failed = %s where recipient = %s", [failed, address]
        )
    conn.execute("select public.report_worker_fault(gen_random_uuid(), 'A disk is gone.')")
    conn.execute("select cron.schedule('process-match-jobs', '* * * * *', 'select 1')")
    conn.execute("select cron.schedule('of somebody else', '* * * * *', 'select 1')")
    conn.execute(
        "insert into cron.job_run_details (jobid, username, status, start_time)"
        " select jobid, username, 'failed', %s from cron.job",
        [_NOON],
    )
    set_clock(conn, _NOON + timedelta(seconds=90))

    told = _told(conn)

    assert (told["mails", "waiting"], told["mails", "failed"]) == (1, 1)
    assert told["mails_oldest_seconds", None] == 90
    assert told["workers_paused", None] == 1
    scheduled = {label for name, label in told if name.startswith("schedule_")}
    assert scheduled == {"process-match-jobs"}
    assert told["schedule_last_run_age_seconds", "process-match-jobs"] == 90
    assert told["schedule_last_run_failed", "process-match-jobs"] == 1
