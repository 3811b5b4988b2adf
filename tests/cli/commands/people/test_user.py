"""`automatch user`, `operator` and `audit`: what services do, typed by whoever has the machine."""

from __future__ import annotations

import getpass
import json
import stat
import subprocess
import zipfile
from pathlib import Path

import psycopg
import pytest

from automatch.auth.receipts import Receipts
from tests.support.build import connect, one
from tests.support.command import call_command
from tests.support.doctor import write_secrets
from tests.support.postgres import Database, TestCluster

HER = "linh@example.org"
ME = f"cli:{getpass.getuser()}"


class Machine:
    """A data folder of the test's own database, and what is typed there."""

    def __init__(self, home: Path, database: Database) -> None:
        self.home = home
        self.database = database

    def type(self, *words: object) -> subprocess.CompletedProcess[str]:
        return call_command(self.home, *words, DATABASE_URL=self.database.owner)

    def json(self, *words: object) -> list[dict]:
        done = self.type(*words, "--json")
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)


@pytest.fixture
def machine(cluster: TestCluster, database: Database, tmp_path: Path) -> Machine:
    write_secrets(tmp_path / "home", cluster.secrets)
    return Machine(tmp_path / "home", database)


def test_first_owner_is_made_by_whoever_has_the_machine(machine: Machine) -> None:
    none = machine.type("operator", "list")
    added = machine.type("operator", "add", HER, "--role", "owner")
    listed = machine.json("operator", "list")
    kept = machine.type("operator", "role", HER, "viewer")
    removed = machine.type("operator", "remove", HER, "--yes")

    assert "automatch operator add" in none.stderr
    assert "/invitation?token=" in added.stdout
    assert "at /admin" in added.stderr
    assert [(person["email"], person["role"]) for person in listed] == [(HER, "owner")]
    assert (kept.returncode, removed.returncode) == (1, 1)
    assert "only owner" in kept.stderr
    entries = machine.json("audit", "list", "--act", "set_role")["entries"]
    assert [(entry["actor"], entry["details"]["role"]) for entry in entries] == [(ME, "owner")]


def test_person_is_found_helped_and_erased(machine: Machine) -> None:
    with psycopg.connect(machine.database.owner, autocommit=True) as conn:
        she = str(one(conn, "select auth.create_user(%s, 'x', '{}')", HER))
        one(conn, "select auth.start_session(%s, 'token')", she)

    [found] = machine.json("user", "find", "linh")
    shown = machine.type("user", "show", HER)
    [session] = machine.json("user", "sessions", HER)
    ended = machine.type("user", "sessions", she, "--end", "--reason", "lost her phone")
    frozen = machine.type("user", "freeze", HER, "--reason", "case 12")
    seen = machine.type("user", "show", HER)
    thawed = machine.type("user", "unfreeze", HER)
    link = machine.type("user", "reset", HER)
    export = ("user", "export", HER, machine.home / "linh.zip", "--reason", "asked by letter")
    exported, again = machine.type(*export), machine.type(*export)
    unsure = machine.type("user", "erase", HER, "--reason", "asked for it")
    file = machine.home / "receipt.jws"
    erase = ("user", "erase", HER, "--reason", "asked for it", "--yes", "--receipt", file)
    erased = machine.type(*erase)
    gone = machine.type("user", "show", HER)

    assert (found["id"], found["email"]) == (she, HER)
    assert HER in shown.stdout
    assert session["by_operator"] is False
    assert ended.stdout == "Sessions ended: 1.\n"
    assert (frozen.returncode, thawed.returncode) == (0, 0)
    assert "case 12" in seen.stdout
    assert "/reset-password?token=" in link.stdout
    assert (exported.returncode, again.returncode) == (0, 1)
    assert zipfile.ZipFile(machine.home / "linh.zip").namelist() == ["export.json"]
    assert stat.S_IMODE((machine.home / "linh.zip").stat().st_mode) == 0o600
    assert (unsure.returncode, erased.returncode, gone.returncode) == (1, 0, 1)
    assert "Nobody has an account" in gone.stderr
    assert Receipts(machine.home).verify(file.read_text())["act"] == "operator"
    entries = machine.json("audit", "list", "--person", she)["entries"]
    assert [(entry["action"], entry["reason"]) for entry in reversed(entries)] == [
        ("find_people", None),
        ("show_person", None),
        ("list_sessions", None),
        ("end_sessions", "lost her phone"),
        ("freeze_person", "case 12"),
        ("show_person", None),
        ("unfreeze_person", None),
        ("reset_password", None),
        ("export_person", "asked by letter"),
        ("person_erased", None),
        ("erase_person", "asked for it"),
    ]
    assert HER not in json.dumps(entries)


def test_school_and_gender_of_a_person_are_changed(machine: Machine) -> None:
    with connect(machine.database.owner, autocommit=True) as conn:
        she = one(conn, "select auth.create_user(%s, 'x', '{}')", HER)
    machine.type("school", "add", "HCMUS")
    change = ("user", "edit", HER, "--school", "hcmus", "--gender", "female")

    unsure, nothing = machine.type(*change), machine.type("user", "edit", HER)
    changed = machine.type(*change, "--yes")

    with connect(machine.database.owner) as conn:
        found = conn.execute(
            "select school, gender from public.profiles where id = %s", [she]
        ).fetchone()
    assert (unsure.returncode, nothing.returncode) == (1, 1)
    assert changed.returncode == 0, changed.stderr
    assert "--school" in nothing.stderr
    assert found == ("HCMUS", "female")
    entries = machine.json("audit", "list", "--person", HER, "--act", "change_person")["entries"]
    assert [(entry["actor"], entry["details"]["school"]) for entry in entries] == [(ME, "HCMUS")]
