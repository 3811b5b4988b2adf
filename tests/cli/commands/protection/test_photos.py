"""`automatch photos`: another folder becomes the place of them, and some wait for a decision."""

from __future__ import annotations

import asyncio
import io
import json
from pathlib import Path

import psycopg
import pytest

from automatch.photos.folder import FolderPhotos
from automatch.photos.store import MARK
from automatch.store.photos import photo_store
from tests.support.build import a_face, a_profile, connect, one, unit
from tests.support.command import call_command
from tests.support.doctor import write_secrets
from tests.support.photo_store import mark_folder
from tests.support.postgres import Database, TestCluster, wait_until_logins_are_gone

pytestmark = pytest.mark.usefixtures("nobody_connected")


@pytest.fixture
def home(cluster: TestCluster, tmp_path: Path) -> Path:
    """Give a data folder with the secrets of the tests' cluster."""
    home = tmp_path / "home"
    write_secrets(home, cluster.secrets)
    return home


def test_migration_marks_the_photos_and_adopted_ones_are_taken(
    home: Path, blank_database: Database
) -> None:
    def call(*command: str) -> str:
        wait_until_logins_are_gone(blank_database)
        done = call_command(home, *command, DATABASE_URL=blank_database.owner)
        assert done.returncode == 0, done.stderr
        return done.stdout

    call("migrate")
    first = (home / "photos" / MARK).read_text()
    (home / "photos" / MARK).unlink()
    told = call("photos", "adopt", "--yes")
    call("migrate")

    assert "0 of the 0 newest photos have their files here" in told
    assert (home / "photos" / MARK).read_text() not in {first, ""}
    assert "already" in call("photos", "adopt")


def test_adoption_of_a_place_without_the_photos_says_so_and_is_declined_by_enter(
    home: Path, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    mark_folder(database.owner, home.with_name("elsewhere"))
    with connect(database.owner) as conn:
        a_face(conn, a_profile(conn), unit(1))

    with psycopg.connect(database.worker), monkeypatch.context() as at_once:
        at_once.setattr(photo_store, "_ENDING_S", 0)
        too_early = call_command(home, "photos", "adopt", DATABASE_URL=database.owner)
    wait_until_logins_are_gone(database)
    monkeypatch.setattr("sys.stdin", io.StringIO("\n"))
    declined = call_command(home, "photos", "adopt", DATABASE_URL=database.owner)

    assert (too_early.returncode, too_early.stdout) == (1, "")
    assert "stop them all" in too_early.stderr
    assert declined.returncode == 1
    assert "0 of the 1 newest photos have their files here" in declined.stdout
    assert "1 of them and maybe more cannot be shown" in declined.stdout
    assert not (home / "photos" / MARK).exists()


def test_photos_that_wait_are_listed_and_decided(home: Path, database: Database) -> None:
    with connect(database.owner) as conn:
        photos = [a_face(conn, a_profile(conn), unit(number)) for number in range(2)]
        for photo, reason in zip(photos, ("another_person", "another_account"), strict=True):
            conn.execute("select automatch.hold_face(%s, %s)", [photo, reason])

    def call(*command: str) -> str:
        done = call_command(home, "photos", *command, DATABASE_URL=database.owner)
        assert done.returncode == 0, done.stderr
        return done.stdout

    listed = json.loads(call("held", "--json"))
    assert [(each["face_id"], each["reason"]) for each in listed] == [
        (str(photos[0]), "another_person"),
        (str(photos[1]), "another_account"),
    ]
    assert str(photos[1]) in call("held", "--reason", "another_account")
    call("release", str(photos[0]))
    unsure = call_command(home, "photos", "refuse", str(photos[1]), DATABASE_URL=database.owner)
    call("refuse", str(photos[1]), "--yes")
    again = call_command(home, "photos", "release", str(photos[0]), DATABASE_URL=database.owner)

    assert (unsure.returncode, "--yes" in unsure.stdout) == (1, True)
    assert (again.returncode, "does not wait" in again.stderr) == (1, True)
    assert json.loads(call("held", "--json")) == []
    assert [
        each["face_id"] for each in json.loads(call("held", "--reason", "refused", "--json"))
    ] == [str(photos[1])]
    with connect(database.owner) as conn:
        assert one(conn, "select count(*) from automatch.held_faces") == 1


def test_photo_that_waits_is_written_once_to_a_file_for_oneself(
    home: Path, database: Database, tmp_path: Path
) -> None:
    with connect(database.owner) as conn:
        photo = a_face(conn, a_profile(conn), unit(1))
        conn.execute("select automatch.hold_face(%s, 'another_person')", [photo])
        path = one(conn, "select image_path from public.faces where id = %s", photo)
    mark_folder(database.owner, home / "photos")
    asyncio.run(
        FolderPhotos(home / "photos", min_free_mb=0).put_copies(path, full=b"jpeg", thumb=b"")
    )
    out = tmp_path / "p.jpg"

    def show(reason: str) -> tuple[int, str]:
        words = ("show", photo, "--out", out, "--reason", reason)
        done = call_command(home, "photos", *words, DATABASE_URL=database.owner)
        return done.returncode, done.stdout + done.stderr

    status, told = show(" ")
    assert (status, "reason" in told, out.exists()) == (1, True, False)
    assert show("Is it her?")[0] == 0
    assert (out.read_bytes(), out.stat().st_mode & 0o777) == (b"jpeg", 0o600)
    status, told = show("Is it her?")
    assert (status, "exists" in told) == (1, True)
    with connect(database.owner) as conn:
        looks = conn.execute(
            "select object_id, reason from automatch.audit_log where action = 'see_held_photo'"
        ).fetchall()
    assert looks == [(photo, "Is it her?")]
