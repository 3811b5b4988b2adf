"""When a scheduled backup is due, and what is noted of each."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import psycopg
import pytest

from tests.support.build import one, set_clock

# A day's backups are counted from 03:00.
MORNING = datetime(2026, 12, 2, 3, tzinfo=UTC)


def _is_due(conn: psycopg.Connection, every_h: int = 24) -> bool:
    due: bool = one(conn, "select public.is_backup_due(make_interval(hours => %s), 3)", every_h)
    return due


def _made(conn: psycopg.Connection, *, scheduled: bool, error: str | None = None) -> None:
    run = one(conn, "select automatch.start_backup_run('/mnt', %s)", scheduled)
    conn.execute(
        "select automatch.finish_backup_run(%s, %s, p_error => %s)",
        [run, None if error else "x", error],
    )


def test_backup_is_due_at_its_hour_until_one_is_made(conn: psycopg.Connection) -> None:
    set_clock(conn, MORNING - timedelta(minutes=1))
    assert _is_due(conn)
    _made(conn, scheduled=True)
    assert not _is_due(conn)

    set_clock(conn, MORNING)
    assert _is_due(conn)
    # By hand counts too.
    _made(conn, scheduled=False)
    assert not _is_due(conn)
    set_clock(conn, MORNING + timedelta(hours=6))
    assert not _is_due(conn)
    assert _is_due(conn, every_h=6)


@pytest.mark.parametrize("ended", [True, False])
def test_failed_or_killed_backup_is_tried_again_after_half_an_hour(
    conn: psycopg.Connection, ended: bool
) -> None:
    set_clock(conn, MORNING)
    if ended:
        _made(conn, scheduled=True, error="unplugged")
    else:
        conn.execute("select automatch.start_backup_run('/mnt', true)")

    set_clock(conn, MORNING + timedelta(minutes=29))
    assert not _is_due(conn)
    set_clock(conn, MORNING + timedelta(minutes=31))
    assert _is_due(conn)


def test_backup_by_hand_that_failed_does_not_hold_up_the_schedule(
    conn: psycopg.Connection,
) -> None:
    set_clock(conn, MORNING)
    _made(conn, scheduled=False, error="no such bucket")

    assert _is_due(conn)
