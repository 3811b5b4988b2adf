"""Migrated databases that tests use one after the other: emptied in between, not cloned anew."""

from __future__ import annotations

from dataclasses import dataclass

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
        return Template(tables, digests, rows, sequences, _definitions(conn), _size(conn))


def empty(conn: psycopg.Connection, template: Template) -> bool:
    """Bring a database back to what it was after it was cloned; end all other sessions.

    Args:
        conn: of the owner, in autocommit. One that did it before is three times as quick.
        template: what to bring it back to.

    Returns:
        False when that takes more than to write rows: somebody defined something in it, its
        statistics were collected, or it has grown a lot. It is to be dropped then.
    """
    conn.execute(_END_OTHER_SESSIONS)
    if _definitions(conn) != template.definitions:
        return False
    if _size(conn) > template.size + _GROWTH_BYTES:
        return False
    digests = _digests(conn, template.tables)
    changed = [
        table
        for table, now, then in zip(template.tables, digests, template.digests, strict=True)
        if now != then
    ]
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
    return True


def _definitions(conn: psycopg.Connection) -> tuple[object, ...]:
    sums = ", ".join(
        f"(select sum(hashint8extended(xmin::text::bigint, 0)) from pg_catalog.{name}"
        # Autovacuum collects the statistics of the catalogs themselves whenever it likes.
        f"{' where starelid >= 16384' if name == 'pg_statistic' else ''})"
        for name in _CATALOGS
    )
    catalogs = conn.execute(f"select {sums}".encode()).fetchone()
    others = conn.execute(_STATISTICS_AND_SETTINGS).fetchone()
    assert catalogs is not None
    assert others is not None
    return catalogs + others


def _digests(conn: psycopg.Connection, tables: tuple[str, ...]) -> tuple[str | None, ...]:
    each = ", ".join(
        f"(select md5(string_agg(t::text, e'\\n' order by t::text)) from {table} as t)"
        for table in tables
    )
    row = conn.execute(f"select {each}".encode()).fetchone()
    assert row is not None
    return row


def _copy_out(conn: psycopg.Connection, table: str) -> bytes:
    with conn.cursor().copy(sql.SQL("copy {} to stdout").format(sql.SQL(table))) as copy:
        return b"".join(bytes(part) for part in copy)


def _size(conn: psycopg.Connection) -> int:
    row = conn.execute("select pg_database_size(current_database())").fetchone()
    assert row is not None
    return int(row[0])
