"""Every statement of the package is one that the migrated schema understands."""

from __future__ import annotations

import re
from pathlib import Path

import psycopg

from automatch.sql.statements import SQL_FOLDER, load
from tests.support.doctor import CRON_AND_NET
from tests.support.postgres import Database

_EXPLAINABLE = re.compile(r"\s*(select|insert|update|delete|with)\b", re.IGNORECASE)


class _Nothing(dict[str, None]):
    """Gives null for every parameter that a statement names."""

    def __missing__(self, _: str) -> None:
        return None


def _misfits(conn: psycopg.Connection, path: Path) -> list[str]:
    misfits = []
    for name, statement in load(path.stem).items():
        if not _EXPLAINABLE.match(statement):
            continue
        try:
            conn.execute("explain " + statement, _Nothing())
        except psycopg.Error as exc:
            misfits.append(f"{path.stem}.{name}: {exc}")
        conn.rollback()
    return misfits


def test_every_named_statement_fits_the_schema(database: Database) -> None:
    files = sorted((SQL_FOLDER / "queries").glob("*.sql"))

    with psycopg.connect(database.owner) as conn:
        # What pg_cron and pg_net bring where they are installed.
        conn.execute(CRON_AND_NET)
        conn.commit()
        misfits = [misfit for path in files for misfit in _misfits(conn, path)]

    assert len(files) >= 8
    assert misfits == []
