"""What is in a database, as text that can be compared with that of another one."""

from __future__ import annotations

from pathlib import Path

import psycopg

_QUERY = Path(__file__).with_name("catalog.sql").read_text("utf-8")


def describe(dsn: str) -> list[str]:
    """Return one text for everything that a migration may leave behind, in a fixed order."""
    with psycopg.connect(dsn) as conn:
        conn.execute("set search_path = pg_catalog")
        return [line for (line,) in conn.execute(_QUERY.encode()).fetchall()]
