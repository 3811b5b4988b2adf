"""Migrated databases that tests use one after the other: emptied in between, not cloned anew."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import psycopg
from psycopg import sql

# Any statement that defines something writes rows of these, so that their transaction ids differ.
_CATALOGS = [
    "pg_attribute",
    "pg_attrdef",
    "pg_class",
    "pg_constraint",
    "pg_default_acl",
    "pg_description",
    "pg_enum",
    "pg_event_trigger",
    "pg_extension",
    "pg_index",
    "pg_inherits",
    "pg_namespace",
    "pg_operator",
    "pg_policy",
    "pg_proc",
    "pg_rewrite",
    "pg_statistic",
    "pg_statistic_ext",
    "pg_trigger",
    "pg_type",
]

_TABLES = """
    select c.oid::regclass::text from pg_class as c
    where c.relkind = 'r' and c.relpersistence in ('p', 'u')
      and c.relnamespace not in ('pg_catalog'::regnamespace, 'information_schema'::regnamespace)
    order by 1
"""
_STATE = """
    select
        (select sum(reltuples) from pg_class where relkind in ('r', 'i') and oid >= 16384),
        (select array_agg(setrole || setconfig::text order by setrole)
         from pg_db_role_setting
         where setdatabase = (select oid from pg_database where datname = current_database())),
        pg_database_size(current_database()),
        (select array_agg(array[seqrelid::regclass::text, coalesce(last, seqstart)::text,
            case when last is null then 'false' else 'true' end] order by seqrelid)
         from pg_sequence, pg_sequence_last_value(seqrelid) as last),
        (select stats_reset from pg_stat_database where datname = current_database()),
        (select array_agg(array[relid::regclass::text, schemaname]) from pg_stat_all_tables
         where n_tup_ins + n_tup_upd + n_tup_del > 0)
"""
_FORGET_COUNTS = """
    select pg_stat_reset();
    select stats_reset from pg_stat_database where datname = current_database()
"""
_END_OTHER_SESSIONS = """
    select pg_terminate_backend(pid) from pg_stat_activity
    where datname = current_database() and pid <> pg_backend_pid() and pid <> all (%s)
"""
_PATIENCE_S = 10.0
_GROWTH_BYTES = 2 * 1024**2
"""A database that has grown by more is not emptied: what is left of rows would slow tests down."""


@dataclass(frozen=True)
class Template:
    """What a database holds right after it was cloned."""

    tables: tuple[str, ...]
    """Names of all tables, quoted where need be."""
    digests: tuple[str | None, ...]
    """Of the rows of each table; None where there are none."""
    rows: dict[str, bytes]
    """Of the tables that have rows, as COPY writes them."""
    sequences: tuple[tuple[str, str, str], ...]
    """Name, last value and whether that was given out."""
    definitions: tuple[object, ...]
    statistics_and_settings: tuple[object, ...]
    size: int


@dataclass(frozen=True)
class _State:
    statistics_and_settings: tuple[object, ...]
    size: int
    sequences: tuple[tuple[str, str, str], ...]
    counted_since: datetime | None
    written: tuple[tuple[str, str], ...]
    """Table and schema of what has counted rows that were written."""


def read_template(address: str) -> Template:
    """Read a database that was cloned and not used yet."""
    with psycopg.connect(address, autocommit=True) as conn:
        tables = tuple(name for (name,) in conn.execute(_TABLES))
        digests = _digests(conn, tables)
        rows = {
            table: _copy_out(conn, table)
            for table, digest in zip(tables, digests, strict=True)
            if digest is not None
        }
        state = _state(conn)
        return Template(
            tables,
            digests,
            rows,
            state.sequences,
            _definitions(conn),
            state.statistics_and_settings,
            state.size,
        )


def empty(
    conn: psycopg.Connection,
    template: Template,
    counted_since: datetime | None,
    spared: Sequence[int] = (),
) -> datetime | None:
    """Bring a database back to what it was after it was cloned; end all other sessions.

    Args:
        conn: of the owner, in autocommit. One that did it before is three times as quick.
        template: what to bring it back to.
        counted_since: what this returned the last time. What nobody wrote to since then is not
            read, unless the counts were lost.
        spared: process ids of the sessions that stay: they are idle, and have told their counts.

    Returns:
        None when that takes more than to write rows: somebody defined something in it, its
        statistics were collected, or it has grown a lot. It is to be dropped then.
    """
    _end_other_sessions(conn, spared)
    state = _state(conn)
    tables, catalogs = set(template.tables), set(_CATALOGS)
    if counted_since is not None and state.counted_since == counted_since:
        tables &= {name for name, _ in state.written}
        catalogs &= {name for name, schema in state.written if schema == "pg_catalog"}
    if catalogs and _definitions(conn) != template.definitions:
        return None
    if state.statistics_and_settings != template.statistics_and_settings:
        return None
    if state.size > template.size + _GROWTH_BYTES:
        return None
    then = dict(zip(template.tables, template.digests, strict=True))
    # To delete from a table in which there is nothing costs less than to look.
    kept = sorted(tables & template.rows.keys())
    now = dict(zip(kept, _digests(conn, kept), strict=True)) if kept else {}
    changed = [table for table in kept if now[table] != then[table]]
    script = ["set local session_replication_role = replica"]
    script += [f"delete from {table}" for table in sorted(tables - now.keys()) + changed]
    script += [
        f"select setval('{name}', {value}, {is_given})"
        for name, value, is_given in set(template.sequences) - set(state.sequences)
    ]
    with conn.transaction():
        conn.execute("; ".join(script).encode())
        for table in changed:
            with conn.cursor().copy(sql.SQL("copy {} from stdin").format(sql.SQL(table))) as copy:
                copy.write(template.rows[table])
    # What this session read is counted first: at the latest ten seconds later it would be anyway.
    conn.execute("select pg_stat_force_next_flush()")
    forgotten = conn.execute(_FORGET_COUNTS)
    assert forgotten.nextset()
    (since,) = forgotten.fetchone() or (None,)
    return since


def _end_other_sessions(conn: psycopg.Connection, spared: Sequence[int]) -> None:
    deadline = time.monotonic() + _PATIENCE_S
    # Postgres, told how long to wait for their end, would look every tenth of a second only.
    while conn.execute(_END_OTHER_SESSIONS, [list(spared)]).fetchall():
        if time.monotonic() > deadline:
            raise psycopg.OperationalError("a session does not end")
        time.sleep(0.002)


def _definitions(conn: psycopg.Connection) -> tuple[object, ...]:
    sums = ", ".join(
        f"(select sum(hashint8extended(xmin::text::bigint, 0)) from pg_catalog.{name}"
        # Autovacuum collects the statistics of the catalogs themselves whenever it likes.
        f"{' where starelid >= 16384' if name == 'pg_statistic' else ''})"
        for name in _CATALOGS
    )
    return _one_row(conn, f"select {sums}")


def _state(conn: psycopg.Connection) -> _State:
    reltuples, settings, size, sequences, counted_since, written = _one_row(conn, _STATE)
    return _State(
        (reltuples, settings),
        size,
        tuple((name, value, is_given) for name, value, is_given in sequences),
        counted_since,
        tuple((name, schema) for name, schema in written or ()),
    )


def _digests(conn: psycopg.Connection, tables: Sequence[str]) -> tuple[str | None, ...]:
    each = ", ".join(
        f"(select md5(string_agg(t::text, e'\\n' order by t::text)) from {table} as t)"
        for table in tables
    )
    return _one_row(conn, f"select {each}")


def _copy_out(conn: psycopg.Connection, table: str) -> bytes:
    with conn.cursor().copy(sql.SQL("copy {} to stdout").format(sql.SQL(table))) as copy:
        return b"".join(bytes(part) for part in copy)


def _one_row(conn: psycopg.Connection, query: str) -> tuple[Any, ...]:
    row = conn.execute(query.encode()).fetchone()
    assert row is not None
    return row
