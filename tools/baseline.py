"""Write the baseline migration out of `sql/schema/`: `make baseline`.

`schema/` is the truth. The migration is its files one after the other, as the Supabase CLI wants
them: one file, no transaction statements. With `--check` nothing is written, and a stale file makes
it exit with 1.
"""

from __future__ import annotations

import sys
from pathlib import Path

_SQL = Path(__file__).parents[1] / "src" / "automatch" / "sql"
SCHEMA = _SQL / "schema"
BASELINE = _SQL / "migrations" / "20261201000000_automatch_baseline.sql"

_HEADER = "-- Generated from sql/schema/ by `make baseline`. Edit the files there.\n"


def list_schema_files() -> list[Path]:
    """Return the files of `schema/` in the order in which they are applied."""
    return sorted(SCHEMA.glob("*.sql"))


def compose_baseline() -> str:
    """Return what the baseline migration should hold."""
    parts = [f"-- {path.name}\n\n{path.read_text('utf-8')}" for path in list_schema_files()]
    return "\n".join([_HEADER, *parts])


def main() -> int:
    """Write the file, or with `--check` say whether it is stale; return the exit status."""
    text = compose_baseline()
    if sys.argv[1:] == ["--check"]:
        current = BASELINE.read_text("utf-8") if BASELINE.exists() else ""
        if current != text:
            print(f"{BASELINE} is stale: run `make baseline`.")
            return 1
        return 0
    BASELINE.write_text(text, "utf-8", newline="\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
