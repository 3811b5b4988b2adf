"""Settings that live in the database: what changes them, within the bounds of their tables."""

from __future__ import annotations

import psycopg
import pytest
from psycopg.types.json import Jsonb

from tests.support.build import one, refused


def change(conn: psycopg.Connection, name: str, value: object) -> None:
    conn.execute("select public.change_setting(%s, %s)", [name, Jsonb(value)])


@pytest.mark.parametrize(
    ("name", "value"),
    [("match_count", 30), ("hold_another_person", False), ("ef_search", 200)],
)
def test_setting_is_changed_alone(conn: psycopg.Connection, name: str, value: object) -> None:
    before = one(conn, "select public.read_settings()")
    change(conn, name, value)

    assert one(conn, "select public.read_settings()") == before | {name: value}


@pytest.mark.parametrize(
    ("name", "value"),
    [("match_count", 0), ("match_count", 101), ("match_count", "many"), ("ef_search", 99)],
)
def test_value_that_its_table_does_not_take_is_refused(
    conn: psycopg.Connection, name: str, value: object
) -> None:
    with pytest.raises((psycopg.errors.CheckViolation, psycopg.errors.DataError)):
        change(conn, name, value)


def test_null_is_no_value(conn: psycopg.Connection) -> None:
    with refused("input_invalid"):
        change(conn, "match_count", None)


@pytest.mark.parametrize("name", ["only_row", "threshold", "match_same_person", "paused"])
def test_what_has_a_function_of_its_own_or_is_none_is_refused(
    conn: psycopg.Connection, name: str
) -> None:
    with refused("not_found"):
        change(conn, name, True)
