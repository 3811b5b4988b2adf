"""Named SQL statements, read from `sql/queries/<noun>.sql`.

A statement starts at a line `-- name: claim`, followed by a line of prose as a comment, and ends
where the next one starts. Parameters are written `%(name)s`.
"""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, LiteralString

if TYPE_CHECKING:
    from collections.abc import Mapping

SQL_FOLDER = Path(__file__).parent

_NAME = re.compile(r"^-- name: *(\w+) *$", re.MULTILINE)
_PROSE = re.compile(r"\A(?:\s*--[^\n]*\n)*")


@cache
def load(noun: str) -> Mapping[str, LiteralString]:
    """Return the statements of one file by name; the file is read once.

    A store module keeps them as `_SQL = load("jobs")` and executes `_SQL["claim"]`.

    Raises:
        ValueError: two statements of the file have one name, or one is empty.
    """
    return MappingProxyType(parse_queries(SQL_FOLDER / "queries" / f"{noun}.sql"))


def parse_queries(path: Path) -> dict[str, LiteralString]:
    """Split a file of named statements."""
    _, *pieces = _NAME.split(path.read_text(encoding="utf-8"))
    queries: dict[str, LiteralString] = {}
    for name, body in zip(pieces[::2], pieces[1::2], strict=True):
        statement = _PROSE.sub("", body).strip()
        if name in queries or not statement:
            raise ValueError(f"{path.name}: the statement {name} is empty or there twice")
        # Typed as literal, because what ships in the package is as trusted as the code beside it.
        queries[name] = statement
    return queries
