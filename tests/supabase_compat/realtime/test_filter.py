"""Filters of subscriptions: what they let through, and what they are not."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest

from automatch.errors.request import SubscriptionInvalidError
from automatch.supabase_compat.realtime.filter import parse_filter
from automatch.supabase_compat.realtime.table import ColumnType

COLUMNS = {
    "id": ColumnType.UUID,
    "status": ColumnType.TEXT,
    "attempts": ColumnType.INT4,
    "created_at": ColumnType.TIME,
}
ONE = UUID("00000000-0000-0000-0000-000000000001")
ROW: dict[str, Any] = {
    "id": ONE,
    "status": "pending",
    "attempts": 2,
    "created_at": datetime(2026, 11, 25, 12, tzinfo=UTC),
}


def lets_through(text: str, **row: Any) -> bool:
    return all(condition.holds(ROW | row) for condition in parse_filter(text, COLUMNS))


@pytest.mark.parametrize(
    "text",
    [
        "",
        f"id=eq.{ONE}",
        f"id=eq.{str(ONE).upper()}",
        f"id=in.({ONE})",
        f"id=in.(00000000-0000-0000-0000-000000000000,{ONE})",
        "id=neq.00000000-0000-0000-0000-000000000000",
        "id=gt.00000000-0000-0000-0000-000000000000",
        "attempts=eq.2",
        "attempts=lt.3",
        "attempts=lte.2",
        "attempts=gt.-1",
        "attempts=gte.2",
        "attempts=not.eq.3",
        "attempts=not.in.(1,3)",
        "attempts=gt.1,attempts=lt.3",
        "status=in.(completed,pending)",
        'status=in.("pending")',
        'status=neq."a,b"',
        "created_at=gt.2026-11-25T11:59:59Z",
        "created_at=eq.2026-11-25T19:00:00+07:00",
        "created_at=lt.2026-11-26",
    ],
)
def test_row_meets_a_filter(text: str) -> None:
    assert lets_through(text)


@pytest.mark.parametrize(
    "text",
    [
        "id=eq.00000000-0000-0000-0000-000000000000",
        f"id=neq.{ONE}",
        "attempts=eq.3",
        "attempts=gt.2",
        "attempts=lt.2",
        "attempts=gt.1,attempts=lt.2",
        "attempts=not.gt.1",
        "status=eq.PENDING",
        "status=in.(completed,failed)",
        "status=not.in.(pending)",
        "created_at=lt.2026-11-25T12:00:00",
    ],
)
def test_row_does_not_meet_a_filter(text: str) -> None:
    assert not lets_through(text)


def test_no_condition_is_true_of_a_null() -> None:
    for text in ("status=eq.x", "status=neq.x", "status=not.eq.x", "status=not.in.(x)"):
        assert not lets_through(text, status=None)


def test_quoted_value_may_contain_anything() -> None:
    value = 'a,b) "c" \\ d=eq.e'
    quoted = value.replace("\\", "\\\\").replace('"', '\\"')

    assert lets_through(f'status=eq."{quoted}"', status=value)
    assert lets_through(f'status=in.(x,"{quoted}"),attempts=eq.2', status=value)


@pytest.mark.parametrize(
    "text",
    [
        "id",
        "id=",
        "id=eq",
        "=eq.x",
        "id=eq.x",
        "id=eq.{00000000-0000-0000-0000-000000000001}",
        "id=eq.' or 1=1 --",
        f"id=eq.{ONE};drop table matches",
        f"id=eq.{ONE} or true",
        "nothing=eq.1",
        "attempts=eq.1.5",
        "attempts=eq.\u0661",
        "attempts=eq.99999999999999999999",
        "attempts=like.1",
        "attempts=not.not.eq.1",
        "attempts=in.1",
        "attempts=in.()",
        "attempts=in.(1,x)",
        "attempts=in.((1))",
        "status=eq.a(b",
        'status=eq."a',
        'status=eq."a"b',
        ",attempts=eq.1",
        "attempts=eq.1,,attempts=eq.1",
        "created_at=gt.yesterday",
        ",".join(["attempts=eq.1"] * 11),
        "attempts=in.(" + ",".join(map(str, range(101))) + ")",
        "status=eq." + "x" * 5000,
    ],
    ids=lambda text: text[:40],
)
def test_invalid_filter_is_refused(text: str) -> None:
    with pytest.raises(SubscriptionInvalidError) as refused:
        parse_filter(text, COLUMNS)

    assert refused.value.message.endswith(".")


def test_hostile_filter_is_refused_at_once() -> None:
    # A pattern that tries again for every character would need years for these.
    for text in ('status=in.("' + '\\"' * 2000, "status=in.(" + '"a",' * 1000, "a" * 4000):
        with pytest.raises(SubscriptionInvalidError):
            parse_filter(text, COLUMNS)
