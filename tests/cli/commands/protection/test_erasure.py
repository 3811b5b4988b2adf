"""`automatch erasure`, and a restore that brings nobody back."""

from __future__ import annotations

import asyncio
import json
import subprocess
from typing import TYPE_CHECKING
from uuid import UUID

import psycopg
import pytest

from automatch.auth.receipts import Receipts
from automatch.photos.folder import FolderPhotos
from automatch.postgres.binaries import find_binaries
from automatch.services.protection.erasures import make_erasures
from automatch.settings import Settings
from automatch.store.database import Database as OpenDatabase
from tests.support import build
from tests.support.build import connect
from tests.support.command import call_command

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.postgres import Database, TestCluster


@pytest.fixture
def home(cluster: TestCluster, tmp_path: Path) -> Path:
    """Give a data folder with the secrets of the tests' cluster."""
    home = tmp_path / "home"
    home.mkdir(mode=0o700)
    (home / "secrets.json").write_bytes((cluster.settings.home / "secrets.json").read_bytes())
    (home / "secrets.json").chmod(0o600)
    return home


def erase(database: Database, home: Path, person: UUID) -> str:
    return asyncio.run(_erase(database, home, person))


async def _erase(database: Database, home: Path, person: UUID) -> str:
    settings = Settings(home=home, database_url=database.owner)
    async with OpenDatabase(database.api, settings.pool, name="test") as db:
        photos = FolderPhotos(home / "photos", min_free_mb=0)
        receipt = await make_erasures(settings, db, photos).erase(person, "operator")
    assert receipt is not None
    return receipt


def test_whoever_is_erased_after_a_backup_is_gone_again_when_it_was_restored(
    home: Path, database: Database, blank_database: Database
) -> None:
    with connect(database.owner, autocommit=True) as conn:
        (she, _), (he, _) = build.a_pair(conn)
    bin_folder = find_binaries() / "bin"
    backup = subprocess.run(
        [bin_folder / "pg_dump", "--format=custom", f"--dbname={database.owner}"],
        capture_output=True,
        check=True,
    ).stdout
    erase(database, home, she)

    subprocess.run(
        [bin_folder / "pg_restore", "--exit-on-error", f"--dbname={blank_database.owner}"],
        input=backup,
        check=True,
    )
    with psycopg.connect(blank_database.owner) as conn:
        assert len(conn.execute("select id from public.profiles").fetchall()) == 2
    started = call_command(home, "migrate", DATABASE_URL=blank_database.owner)

    assert started.returncode == 0, started.stderr
    assert "people erased since are erased again: 1" in started.stderr
    with psycopg.connect(blank_database.owner) as conn:
        assert conn.execute("select id from public.profiles").fetchall() == [(he,)]
    again = call_command(home, "erasure", "replay", DATABASE_URL=blank_database.owner)
    assert again.stdout == "Everybody who was erased is still erased.\n"


def test_receipt_is_checked_and_what_it_names_is_looked_for(
    home: Path, database: Database, tmp_path: Path
) -> None:
    with connect(database.owner, autocommit=True) as conn:
        person, other = build.a_profile(conn), build.a_profile(conn)
    receipt = tmp_path / "receipt.jws"
    receipt.write_text(erase(database, home, person) + "\n")

    def verify(*words: object) -> tuple[int, dict]:
        done = call_command(
            home, "erasure", "verify", *map(str, words), "--json", DATABASE_URL=database.owner
        )
        return done.returncode, json.loads(done.stdout)

    with connect(database.owner, autocommit=True) as conn:
        # What an operator did about the person stays for its time, and is nothing left over.
        conn.execute(
            "insert into automatch.audit_log (actor, action, object_id) values ('me', 'look', %s)",
            [person],
        )
    code, told = verify(receipt)
    assert [p["count"] for p in told["places"] if p["place"] == "table automatch.audit_log"] == [1]
    assert (code, told["found"], told["receipt"]["act"]) == (0, False, "operator")
    code, told = verify("--person", other)
    assert (code, told["found"]) == (1, True)
    assert {"place": "table public.profiles", "count": 1, "note": ""} in told["places"]

    keys = tmp_path / "jwks.json"
    keys.write_text(json.dumps(Receipts(home).published_keys()))
    elsewhere = tmp_path / "elsewhere"
    alone = call_command(elsewhere, "erasure", "verify", str(receipt), "--keys", str(keys))
    assert alone.returncode == 0, alone.stderr
    assert "The receipt is genuine" in alone.stdout
    receipt.write_text(receipt.read_text().replace("e", "f", 1))
    forged = call_command(elsewhere, "erasure", "verify", str(receipt), "--keys", str(keys))
    assert forged.returncode == 1
    assert "was not signed here, or was changed" in forged.stderr


def test_it_takes_one_of_both(home: Path) -> None:
    neither = call_command(home, "erasure", "verify")

    assert (neither.returncode, neither.stderr.count("\n")) == (1, 1)
    assert "--person" in neither.stderr
