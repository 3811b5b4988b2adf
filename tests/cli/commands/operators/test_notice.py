"""`automatch about` and `automatch notice`: an operator says who they are and what people read."""

from __future__ import annotations

import json
from pathlib import Path

from tests.support.command import call_command
from tests.support.doctor import write_secrets
from tests.support.postgres import Database, TestCluster


def test_operator_signs_and_publishes(
    cluster: TestCluster, database: Database, tmp_path: Path
) -> None:
    home, file = tmp_path / "home", tmp_path / "consent.vi.txt"
    write_secrets(home, cluster.secrets)
    file.write_bytes("\ufeffTôi đồng ý.\r\n\r\nThật.\n".encode())

    def run(*words: object) -> str:
        done = call_command(home, *words, DATABASE_URL=database.owner)
        assert done.returncode == 0, done.stderr
        return done.stdout + done.stderr

    assert "test installation" in run("about")
    run("about", "set", "--name", "UIT Union", "--email", "privacy@uit.example")
    told = json.loads(run("about", "--json"))
    assert told == {
        "name": "UIT Union",
        "contact_email": "privacy@uit.example",
        "contact_url": None,
    }
    version = run("notice", "publish", "consent", file, "--language", "vi", "--yes")
    [published] = [row for row in json.loads(run("notice", "list", "--json")) if row["by_operator"]]
    assert published["version"] in version
    assert published["body"] == "Tôi đồng ý.\n\nThật."
    assert "Tôi đồng ý.\n\nThật.\n" in run("notice", "show", "consent", published["version"])
    assert "privacy\t2026-11\ten" in run("notice", "list")


def test_what_cannot_be_published_is_refused(
    cluster: TestCluster, database: Database, tmp_path: Path
) -> None:
    home, file = tmp_path / "home", tmp_path / "empty.txt"
    write_secrets(home, cluster.secrets)
    file.write_text("\n")

    def refuse(*words: object) -> str:
        done = call_command(home, *words, DATABASE_URL=database.owner)
        assert done.returncode == 1
        return done.stderr

    publish = ("notice", "publish", "privacy")
    assert "empty" in refuse(*publish, file, "--language", "en")
    assert "cannot be read" in refuse(*publish, tmp_path / "none", "--language", "en")
    file.write_text("Text")
    assert "language code such as en" in refuse(*publish, file, "--language", "English!", "--yes")
    assert "such as you@example.org" in refuse("about", "set", "--email", "nobody")
    assert "--name" in refuse("about", "set")
    assert "no version" in refuse("notice", "show", "privacy", "2020")
