"""Files of named statements."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from automatch.sql.statements import SQL_FOLDER, load, parse_queries

if TYPE_CHECKING:
    from pathlib import Path


def test_statement_is_what_stands_between_its_prose_and_the_next_name(tmp_path: Path) -> None:
    path = tmp_path / "x.sql"
    path.write_text(
        "-- name: first\n-- Says why.\n-- And more.\nselect 1\n-- inside\n  + 1\n\n"
        "-- name: second\n-- Why.\nselect %(name)s\n"
    )

    assert parse_queries(path) == {
        "first": "select 1\n-- inside\n  + 1",
        "second": "select %(name)s",
    }


@pytest.mark.parametrize(
    "text", ["-- name: a\n-- Only prose.\n", "-- name: a\nselect 1\n-- name: a\nselect 2\n"]
)
def test_empty_or_doubled_statement_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "x.sql"
    path.write_text(text)

    with pytest.raises(ValueError, match="empty or there twice"):
        parse_queries(path)


@pytest.mark.parametrize(
    "path", sorted((SQL_FOLDER / "queries").glob("*.sql")), ids=lambda p: p.stem
)
def test_every_file_of_the_package_loads(path: Path) -> None:
    assert load(path.stem)
