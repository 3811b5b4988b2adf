"""Every statement and every call of the package is one that the migrated schema understands."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import psycopg

from automatch.sql.statements import SQL_FOLDER, load
from tests.support.doctor import CRON_AND_NET
from tests.support.postgres import Database

_CALLS = {"call", "call_value", "call_values", "call_row", "call_rows"}
_PARAMETERS = """
    select coalesce(p.proargnames[:p.pronargs], '{}'), p.pronargs - p.pronargdefaults
    from pg_proc as p
    join pg_namespace as n on n.oid = p.pronamespace
    where n.nspname || '.' || p.proname = %s
"""
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


def _calls() -> list[tuple[str, str, set[str], bool]]:
    """Return where each call stands, its function, its arguments, and whether it spreads a dict."""
    calls = []
    for path in sorted(SQL_FOLDER.parent.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if not isinstance(node, ast.Call) or getattr(node.func, "id", "") not in _CALLS:
                continue
            if len(node.args) > 1 and isinstance(node.args[1], ast.Constant):
                name = str(node.args[1].value)
                named = {keyword.arg for keyword in node.keywords}
                calls.append(
                    (
                        f"{path.name}:{node.lineno}",
                        name if "." in name else f"public.{name}",
                        {f"p_{argument}" for argument in named if argument},
                        None in named,
                    )
                )
    return calls


def test_every_call_names_a_function_and_its_parameters(conn: psycopg.Connection) -> None:
    calls = _calls()
    misfits = []
    for place, function, given, spreads in calls:
        # In parameters come first where there are out parameters too.
        fits = [
            given <= set(names) and (spreads or set(names[:needed]) <= given)
            for names, needed in conn.execute(_PARAMETERS, [function]).fetchall()
        ]
        if not any(fits):
            misfits.append(f"{place}: {function}{sorted(given)}")

    assert len(calls) > 50
    assert misfits == []


def test_every_named_statement_fits_the_schema(database: Database) -> None:
    files = sorted((SQL_FOLDER / "queries").glob("*.sql"))
    # tests/citus runs these, where there is what they need.
    for name in ("citus.sql", "erased_shards.sql"):
        files.remove(SQL_FOLDER / "queries" / name)

    with psycopg.connect(database.owner) as conn:
        # What pg_cron and pg_net bring where they are installed.
        conn.execute(CRON_AND_NET)
        conn.execute("select automatch.begin_index_copy(0)")
        conn.commit()
        misfits = [misfit for path in files for misfit in _misfits(conn, path)]

    assert len(files) >= 8
    assert misfits == []
