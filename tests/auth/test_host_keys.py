"""The fingerprints by which hosts of one installation are compared."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

from automatch.auth.host_keys import read_fingerprints
from automatch.auth.project_keys import ProjectKey, ProjectKeys
from automatch.auth.receipts import Receipts
from automatch.settings.secrets import load_or_create


def test_copies_of_the_files_have_the_same_fingerprints_and_others_do_not(tmp_path: Path) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    secrets = load_or_create(here)
    (there).mkdir(mode=0o700)
    (there / "secrets.json").write_bytes((here / "secrets.json").read_bytes())

    def differing() -> list[str]:
        one, other = read_fingerprints(here, secrets), read_fingerprints(there, secrets)
        return [name for name in one if one[name] != other[name]]

    assert differing() == []
    Receipts(here).sign({})
    assert differing() == ["receipt-key.json"]
    keys, now = ProjectKeys(here), int(time.time())
    keys.add(ProjectKey("leaked", "anon", now, now + 1000))
    assert differing() == ["receipt-key.json"]
    keys.end("leaked")
    assert differing() == ["receipt-key.json", "project_keys.json"]
    for name in differing():
        (there / name).write_bytes((here / name).read_bytes())
        (there / name).chmod(0o600)

    assert differing() == []


def test_to_look_makes_no_key_and_shows_none(tmp_path: Path) -> None:
    secrets = load_or_create(tmp_path)
    found = read_fingerprints(tmp_path, secrets)
    rotated = read_fingerprints(tmp_path, replace(secrets, photo_key="p" * 43))

    assert [file.name for file in tmp_path.iterdir()] == ["secrets.json"]
    assert found["receipt-key.json"] == found["project_keys.json"] == ""
    assert found["secrets.json"] != rotated["secrets.json"]
    assert found["secrets.json"] not in str(secrets.__dict__)
