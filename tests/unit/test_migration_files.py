"""The files of the migrations: their names, and that those which shipped never change."""

from __future__ import annotations

import hashlib
import re

import pytest

from automatch.store.migrate import MIGRATIONS

_FILES = sorted(MIGRATIONS.glob("*.sql"))

# A database that has applied a file will not apply it again: add a migration instead.
_SHIPPED = {
    "20261123000100_automatch_foundations.sql": (
        "de2d4c984e050c4edf4bb060141f45aa9b28b0478d5d83cf2bc282cf15528c5f"
    ),
    "20261123000200_automatch_profiles.sql": (
        "636081b7fbf527ddce67bec43e8e86f896a159894b7ca479ef8881f256f98481"
    ),
    "20261123000300_automatch_faces.sql": (
        "6ba11105aff2b673cec439250617b5df7343f79e0bcc6fcc6c45326b283c1bde"
    ),
    "20261123000400_automatch_match_jobs.sql": (
        "101d79c71be65f3b71cc8f71373e54ce27a076480b749b6cac7fb820aec7d97d"
    ),
    "20261123000500_automatch_search.sql": (
        "49d7a55a1a0fc159f91183e3074c49816892dd286690f9388f9f1a0143cb80c7"
    ),
    "20261123000600_automatch_matches.sql": (
        "20c9ad1ba0bf51d36c059a1813d1ab79e14aecb5b763f3b23de5881f71f4f648"
    ),
    "20261123000650_automatch_feed.sql": (
        "a0cec0d92e4b4ff956d2d2c9bc70fe44630bf78692ae25cea4edbb3ec199bc8c"
    ),
    "20261123000700_automatch_job_lifecycle.sql": (
        "90faaa5745a486df5503bd2d4b327ad2ff9e7a67c5a46093c361d6a5702b85a9"
    ),
    "20261123000800_automatch_auth_users.sql": (
        "48c7ebd0b17c420f6d7d17a67ed42c8604ea13ad6433d4b68aa000d7c1910514"
    ),
}


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


def test_shipped_migrations_never_change() -> None:
    found = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in _FILES}

    assert {name: found.get(name) for name in _SHIPPED} == _SHIPPED
