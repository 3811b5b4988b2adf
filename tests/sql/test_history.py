"""Numbers of five minutes, which outlive the jobs that they were made of."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from tests.support import build
from tests.support.build import one

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
STEP = 5 * MINUTE
STRANGER = build.unit(1)


@pytest.fixture(autouse=True)
def noon(conn):
    build.set_clock(conn, NOON)


def at(conn, moment):
    build.set_clock(conn, moment)


def a_search(conn, *, took=timedelta(seconds=1), priority=1):
    """Upload, claim and complete a photo of somebody new, from now on; return its job."""
    start = one(conn, "select automatch.now()")
    job = build.a_job(conn, build.a_face(conn, build.a_profile(conn), STRANGER), priority=priority)
    at(conn, start + took / 2)
    held = build.claim(conn)
    at(conn, start + took)
    build.complete(conn, *held)
    return job


def record(conn):
    return one(conn, "select public.record_history()")


def history(conn):
    """Return (minutes since noon, queued, completed, failures, open jobs) of each step."""
    return conn.execute(
        "select extract(epoch from starts_at - %s)::integer / 60, queued, completed, failures,"
        " open_jobs from automatch.history order by 1",
        [NOON],
    ).fetchall()


def stages(conn):
    return one(conn, "select stages from automatch.history order by starts_at limit 1")


def test_five_minutes_are_recorded_once_and_half_a_minute_after_they_are_over(conn):
    a_search(conn)
    at(conn, NOON + STEP + MINUTE / 3)
    assert record(conn) == 0
    at(conn, NOON + STEP + MINUTE / 2)

    assert [record(conn), record(conn)] == [1, 0]
    assert history(conn) == [(0, 1, 1, {}, 0)]


def test_after_a_pause_of_all_workers_each_five_minutes_have_their_own_numbers(conn):
    a_search(conn)
    at(conn, NOON + STEP + MINUTE)
    waiting = build.a_job(conn, build.a_face(conn, build.a_profile(conn)))
    at(conn, NOON + 3 * STEP + MINUTE)
    _, token = build.claim(conn)
    build.fail(conn, waiting, token, "no_face")
    at(conn, NOON + 4 * STEP + MINUTE)

    assert [record(conn), record(conn)] == [4, 0]
    assert history(conn) == [
        (0, 1, 1, {}, 0),
        (5, 1, 0, {}, 1),
        (10, 0, 0, {}, 1),
        (15, 0, 0, {"no_face": 1}, 0),
    ]
    ages = conn.execute("select oldest_s from automatch.history order by starts_at").fetchall()
    assert ages == [(None,), (240,), (540,), (None,)]


def test_no_more_than_a_week_is_made_up_for_a_hundred_steps_at_a_time(conn):
    a_search(conn)
    at(conn, NOON + STEP + MINUTE)
    record(conn)
    at(conn, NOON + timedelta(days=30))
    counts = []
    while count := record(conn):
        counts.append(count)

    assert counts[0] == 100
    assert sum(counts) == 7 * 24 * 12 - 1


def test_numbers_outlive_the_jobs(conn):
    a_search(conn)
    at(conn, NOON + STEP + MINUTE)
    record(conn)
    before = history(conn), stages(conn)
    conn.execute("delete from public.match_jobs")
    at(conn, NOON + 2 * STEP + MINUTE)
    record(conn)

    assert (history(conn)[:1], stages(conn)) == before
    assert one(conn, "select completed from public.get_history('1 hour', '1 hour')") == 1


def test_stages_are_told_apart_and_what_nobody_waited_for_is_left_out(conn):
    job = a_search(conn)
    conn.execute(
        'update public.match_jobs set timings = \'{"claimed_ms": 500, "decode_ms": 20,'
        ' "detect_ms": 60, "embed_ms": 10, "embedded_ms": 700, "searched_ms": 705,'
        ' "written_ms": 1000}\' where id = %s',
        [job],
    )
    a_search(conn, took=timedelta(seconds=30), priority=3)
    at(conn, NOON + STEP + MINUTE)
    record(conn)

    assert {name: each["ms"] for name, each in stages(conn).items()} == {
        **{"wait": 500, "decode": 20, "detect": 60, "embed": 10, "store": 110},
        **{"search": 5, "publish": 295, "to_end": 1000},
    }
    # The powers of two: 500 is up to 2 to the 18/2, and 5 up to 2 to the 5/2.
    assert stages(conn)["wait"]["counts"] == {"18": 1}
    assert stages(conn)["search"]["counts"] == {"5": 1}
    assert one(conn, "select background from automatch.history") == 1


def test_delivery_is_the_last_stage_of_those_whose_page_was_open(conn):
    (she, her_face), (he, _) = build.a_pair(conn)
    build.a_match(conn, her_face)
    match = one(conn, "select id from public.matches")
    at(conn, NOON + timedelta(seconds=2))
    conn.execute(
        "select public.record_deliveries(%s, %s, '{1.75, 0}', '{60, 1}')",
        [[she, he], [match, match]],
    )
    at(conn, NOON + STEP + MINUTE)
    record(conn)

    assert {name for name in stages(conn) if "deliver" in name or "screen" in name} == {
        "deliver",
        "to_screen",
    }
    assert stages(conn)["deliver"]["ms"] == 250
    assert one(conn, "select seen_later from automatch.history") == 1


def test_history_is_read_in_steps_up_to_this_moment(conn):
    a_search(conn)
    at(conn, NOON + STEP + MINUTE)
    a_search(conn, took=timedelta(seconds=4))
    record(conn)
    at(conn, NOON + 2 * STEP + MINUTE)
    waiting = build.a_job(conn, build.a_face(conn, build.a_profile(conn)))
    rows = conn.execute(
        "select starts_at, queued, completed, stages -> 'to_end', open_jobs, oldest_s"
        " from public.get_history('1 hour', '30 minutes')"
    ).fetchall()

    assert waiting is not None
    assert rows == [(NOON, 3, 2, {"ms": 5000, "counts": {"20": 1, "24": 1}}, 1, 0)]


def test_history_is_forgotten_after_30_days(conn):
    a_search(conn)
    at(conn, NOON + STEP + MINUTE)
    record(conn)

    def delete():
        conn.execute(
            "select public.delete_expired_rows(" + ", ".join(["'100 years'"] * 8) + ")",
        )
        return len(history(conn))

    at(conn, NOON + timedelta(days=29))
    assert delete() == 1
    at(conn, NOON + timedelta(days=31))
    assert delete() == 0


def test_idle_five_minutes_take_a_hundred_bytes_and_busy_ones_some_hundreds(conn):
    at(conn, NOON + STEP)
    a_search(conn)
    for number in range(20):
        at(conn, NOON + STEP + timedelta(seconds=2 + number))
        a_search(conn, took=timedelta(seconds=0.1 * (1 + number % 5)))
    at(conn, NOON + 3 * STEP + MINUTE)
    record(conn)
    sizes = conn.execute(
        "select queued, pg_column_size(h.*) from automatch.history as h order by starts_at"
    ).fetchall()

    assert [queued for queued, _ in sizes] == [21, 0]
    assert sizes[1][1] < 150
    assert sizes[0][1] < 1000
