"""`supabase db push` as far as it concerns a database: what it refuses, and how it applies a file.

The rules are those of its source, `pkg/migration` (`file.go`, `list.go`, `apply.go`, `history.go`).
"""

from __future__ import annotations

import re
from pathlib import Path

import psycopg

_FILE_NAME = re.compile(r"([0-9]+)_(.*)\.sql")
# As much of SQL's grammar as finding the end of a statement takes.
_TOKEN = re.compile(r"--[^\n]*|/\*.*?\*/|'(?:[^']|'')*'|\"[^\"]*\"|(\$\w*\$).*?\1|;|.", re.DOTALL)
_LEDGER = (
    "set lock_timeout = '4s'",
    "create schema if not exists supabase_migrations",
    "create table if not exists supabase_migrations.schema_migrations"
    " (version text not null primary key)",
    "alter table supabase_migrations.schema_migrations add column if not exists statements text[]",
    "alter table supabase_migrations.schema_migrations add column if not exists name text",
)


class PushRefusedError(Exception):
    """The CLI would stop here and say what to do."""


def split(text: str) -> list[str]:
    """Split a file into its statements."""
    statements = [""]
    for token in _TOKEN.finditer(text):
        if token[0] == ";":
            statements.append("")
        elif not token[0].startswith("--"):
            statements[-1] += token[0]
    return [statement for statement in statements if statement.strip()]


async def push(dsn: str, folder: Path, *, include_all: bool = False) -> list[str]:
    """Apply what is missing, one implicit transaction a file; return the versions.

    Raises:
        PushRefusedError: folder and ledger do not fit together.
    """
    files = {
        match[1]: path
        for path in sorted(folder.glob("*.sql"))
        if (match := _FILE_NAME.fullmatch(path.name))
    }
    async with await psycopg.AsyncConnection.connect(
        dsn, autocommit=True, prepare_threshold=None
    ) as conn:
        async with conn.pipeline():
            for statement in _LEDGER:
                await conn.execute(statement.encode())
        cursor = await conn.execute("select version from supabase_migrations.schema_migrations")
        remote = sorted(version for (version,) in await cursor.fetchall())
        if unknown := [version for version in remote if version not in files]:
            raise PushRefusedError(f"remote versions not found in the folder: {unknown}")
        waiting = [version for version in files if version not in remote]
        if not include_all and remote and (early := [v for v in waiting if v < remote[-1]]):
            raise PushRefusedError(f"to be inserted before the last remote one: {early}")
        for version in waiting:
            await _apply(conn, version, files[version])
    return waiting


async def _apply(conn: psycopg.AsyncConnection, version: str, file: Path) -> None:
    statements = split(file.read_text(encoding="utf-8"))
    name = file.stem.partition("_")[2]
    await conn.execute("reset all")
    async with conn.pipeline():
        for statement in statements:
            await conn.execute(statement.encode())
        await conn.execute(
            "insert into supabase_migrations.schema_migrations (version, name, statements)"
            " values (%s, %s, %s)",
            [version, name, statements],
        )
