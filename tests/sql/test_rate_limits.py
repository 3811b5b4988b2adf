"""Buckets of rate limits: charged together or not at all, and filling steadily."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import psycopg
import pytest

from tests.support.build import set_clock

NOON = datetime(2026, 5, 4, 12, tzinfo=UTC)
MINUTE = (b"a minute", 5, 60.0)
HOUR = (b"an hour", 6, 3600.0)


def ask(conn: psycopg.Connection, function: str, *buckets: tuple[bytes, int, float]) -> float:
    arrays = [list(column) for column in zip(*buckets, strict=True)]
    row = conn.execute(f"select public.{function}(%s, %s, %s::float8[])", arrays).fetchone()  # type: ignore[arg-type]  # a name of this file
    assert row is not None
    return round(row[0] or 0, 3)


def test_bucket_empties_and_fills_steadily(conn: psycopg.Connection) -> None:
    set_clock(conn, NOON)
    assert [ask(conn, "charge_rate_limits", MINUTE) for _ in range(7)] == [0] * 5 + [12, 12]
    set_clock(conn, NOON + timedelta(seconds=10))
    assert ask(conn, "charge_rate_limits", MINUTE) == 2
    set_clock(conn, NOON + timedelta(seconds=12))
    assert [ask(conn, "charge_rate_limits", MINUTE) for _ in range(2)] == [0, 12]
    set_clock(conn, NOON + timedelta(days=1))
    assert [ask(conn, "charge_rate_limits", MINUTE) for _ in range(6)] == [0] * 5 + [12]


def test_buckets_are_charged_all_or_none_so_that_the_wait_grows(conn: psycopg.Connection) -> None:
    set_clock(conn, NOON)
    both = (HOUR, MINUTE)
    assert [ask(conn, "charge_rate_limits", *both) for _ in range(6)] == [0] * 5 + [12]
    assert ask(conn, "get_rate_limit_wait", HOUR) == 0
    set_clock(conn, NOON + timedelta(minutes=1))

    assert [ask(conn, "charge_rate_limits", *both) for _ in range(2)] == [0, 540]
    assert ask(conn, "charge_rate_limits", MINUTE) == 0


def test_refund_undoes_a_charge(conn: psycopg.Connection) -> None:
    set_clock(conn, NOON)
    for _ in range(5):
        ask(conn, "charge_rate_limits", MINUTE)
    ask(conn, "refund_rate_limits", MINUTE)

    assert [ask(conn, "charge_rate_limits", MINUTE) for _ in range(2)] == [0, 12]


@pytest.mark.parametrize(("seconds", "left"), [(24, 2), (25, 1), (11999, 0)])
def test_only_full_buckets_are_deleted(conn: psycopg.Connection, seconds: int, left: int) -> None:
    set_clock(conn, NOON)
    ask(conn, "charge_rate_limits", MINUTE, HOUR)
    ask(conn, "charge_rate_limits", MINUTE, HOUR)
    set_clock(conn, NOON + timedelta(seconds=seconds))
    conn.execute("select public.clean_up_rate_limits()")

    assert conn.execute("select count(*) from automatch.rate_limits").fetchone() == (left,)
