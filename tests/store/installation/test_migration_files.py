"""The migrations as files, and where they come from; nothing here is applied to a database."""

from __future__ import annotations

import re

import pytest

from automatch.store.installation.migrate import MIGRATIONS
from tools.baseline import BASELINE, compose_baseline, list_schema_files

_FILES = sorted(MIGRATIONS.glob("*.sql"))


@pytest.mark.parametrize("path", _FILES, ids=lambda path: path.stem)
def test_file_can_be_pushed_by_the_supabase_cli(path) -> None:
    text = path.read_text()

    assert re.fullmatch(r"[0-9]{14}_automatch_[a-z_]+\.sql", path.name)
    # It sends a file as one implicit transaction, and splits it at semicolons.
    assert not re.search(r"(?im)^\s*(begin|commit|rollback)\s*;", text)
    assert not re.search(r"(?im)^\s*\\", text)
    assert "concurrently" not in text.lower()


def test_versions_differ() -> None:
    versions = [path.name[:14] for path in _FILES]

    assert len(set(versions)) == len(versions)


def test_baseline_is_what_the_schema_files_say() -> None:
    assert BASELINE.read_text("utf-8") == compose_baseline(), "run `make baseline`"


def test_schema_files_define_each_object_once() -> None:
    text = "\n".join(path.read_text("utf-8") for path in list_schema_files())

    alteration = r"table(?!.* (set storage|disable trigger))|function"
    assert not re.search(rf"(?m)^create or replace|^drop |^alter ({alteration})", text)
