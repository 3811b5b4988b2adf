"""Migrated databases that tests use one after the other: emptied in between, not cloned anew."""

from __future__ import annotations

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
_STATISTICS_AND_SETTINGS = """
    select
        (select sum(reltuples) from pg_class where relkind in ('r', 'i') and oid >= 16384),
        (select array_agg(setrole || setconfig::text order by setrole)
         from pg_db_role_setting
         where setdatabase = (select oid from pg_database where datname = current_database()))
"""
_WRITTEN = """
    select relid::regclass::text, schemaname = 'pg_catalog' from pg_stat_all_tables
    where n_tup_ins + n_tup_upd + n_tup_del > 0
"""
_COUNTED_SINCE = "select stats_reset from pg_stat_database where datname = current_database()"
_END_OTHER_SESSIONS = """
    select pg_terminate_backend(pid, 10000) from pg_stat_activity
    where datname = current_database() and pid <> pg_backend_pid()
"""
_SEQUENCES = """
    select seqrelid::regclass::text, coalesce(last, seqstart), last is not null
    from pg_sequence, pg_sequence_last_value(seqrelid) as last order by 1
"""
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
    sequences: list[tuple[str, int, bool]]
    """Name, last value and whether that was given out."""
    definitions: tuple[object, ...]
    statistics_and_settings: tuple[object, ...]
    size: int


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
        sequences = conn.execute(_SEQUENCES).fetchall()
        return Template(
            tables,
            digests,
            rows,
            sequences,
            _definitions(conn),
            _statistics_and_settings(conn),
            _size(conn),
        )


def empty(
    conn: psycopg.Connection, template: Template, counted_since: datetime | None
) -> datetime | None:
    """Bring a database back to what it was after it was cloned; end all other sessions.

    Args:
        conn: of the owner, in autocommit. One that did it before is three times as quick.
        template: what to bring it back to.
        counted_since: what this returned the last time. What nobody wrote to since then is not
            read, unless the counts were lost.

    Returns:
        None when that takes more than to write rows: somebody defined something in it, its
        statistics were collected, or it has grown a lot. It is to be dropped then.
    """
    conn.execute(_END_OTHER_SESSIONS)
    tables, catalogs = set(template.tables), set(_CATALOGS)
    if counted_since is not None and _counted_since(conn) == counted_since:
        written = dict(conn.execute(_WRITTEN).fetchall())
        tables &= written.keys()
        catalogs &= {name for name, is_catalog in written.items() if is_catalog}
    if catalogs and _definitions(conn) != template.definitions:
        return None
    if _statistics_and_settings(conn) != template.statistics_and_settings:
        return None
    if _size(conn) > template.size + _GROWTH_BYTES:
        return None
    then = dict(zip(template.tables, template.digests, strict=True))
    now = dict(zip(sorted(tables), _digests(conn, sorted(tables)), strict=True))
    changed = [table for table in now if now[table] != then[table]]
    sequences = conn.execute(_SEQUENCES).fetchall()
    with conn.transaction():
        conn.execute("set local session_replication_role = replica")
        for table in changed:
            conn.execute(sql.SQL("delete from {}").format(sql.SQL(table)))
            if table in template.rows:
                with conn.cursor().copy(
                    sql.SQL("copy {} from stdin").format(sql.SQL(table))
                ) as copy:
                    copy.write(template.rows[table])
        for sequence in set(template.sequences) - set(sequences):
            conn.execute("select setval(%s, %s, %s)", sequence)
    # What this session read is counted first: at the latest ten seconds later it would be anyway.
    conn.execute("select pg_stat_force_next_flush()")
    conn.execute("select pg_stat_reset()")
    return _counted_since(conn)


def _definitions(conn: psycopg.Connection) -> tuple[object, ...]:
    sums = ", ".join(
        f"(select sum(hashint8extended(xmin::text::bigint, 0)) from pg_catalog.{name}"
        # Autovacuum collects the statistics of the catalogs themselves whenever it likes.
        f"{' where starelid >= 16384' if name == 'pg_statistic' else ''})"
        for name in _CATALOGS
    )
    return _one_row(conn, f"select {sums}")


def _statistics_and_settings(conn: psycopg.Connection) -> tuple[object, ...]:
    return _one_row(conn, _STATISTICS_AND_SETTINGS)


def _counted_since(conn: psycopg.Connection) -> datetime | None:
    (since,) = _one_row(conn, _COUNTED_SINCE)
    assert since is None or isinstance(since, datetime)
    return since


def _digests(conn: psycopg.Connection, tables: Sequence[str]) -> tuple[str | None, ...]:
    each = ", ".join(
        f"(select md5(string_agg(t::text, e'\\n' order by t::text)) from {table} as t)"
        for table in tables
    )
    return _one_row(conn, f"select {each}")


def _copy_out(conn: psycopg.Connection, table: str) -> bytes:
    with conn.cursor().copy(sql.SQL("copy {} to stdout").format(sql.SQL(table))) as copy:
        return b"".join(bytes(part) for part in copy)


def _size(conn: psycopg.Connection) -> int:
    (size,) = _one_row(conn, "select pg_database_size(current_database())")
    return int(size)


def _one_row(conn: psycopg.Connection, query: str) -> tuple[Any, ...]:
    row = conn.execute(query.encode()).fetchone()
    assert row is not None
    return row
