"""What servers, workers and migrations refuse before they begin, each in one sentence."""

from __future__ import annotations

import asyncio
import shutil
from dataclasses import replace
from pathlib import Path

import psycopg
import pytest

from automatch.cli.runtime.db_session import db_session
from automatch.errors.store import DatabaseUnavailableError
from automatch.settings import Settings
from tests.support.command import call_command
from tests.support.doctor import write_secrets
from tests.support.photo_store import mark_folder
from tests.support.postgres import Database, TestCluster, drop_database

_COMMANDS = [("migrate",), ("serve", "--port", "0"), ("worker",)]


@pytest.fixture
def home(cluster: TestCluster, tmp_path: Path) -> Path:
    """Give a data folder with the secrets of the tests' cluster."""
    home = tmp_path / "home"
    home.mkdir(mode=0o700)
    shutil.copy2(cluster.settings.home / "secrets.json", home)
    return home


@pytest.mark.parametrize("command", _COMMANDS, ids=lambda command: command[0])
def test_data_folder_without_the_photos_of_the_database_is_refused(
    home: Path, database: Database, command: tuple[str, ...]
) -> None:
    mark_folder(database.owner, home.with_name("elsewhere"))

    refused = call_command(home, *command, DATABASE_URL=database.owner)

    assert refused.returncode == 1
    assert "The photos of this database are elsewhere" in refused.stderr
    assert f"the folder {home / 'photos'} does not bear its mark" in refused.stderr
    assert "`automatch photos adopt`" in refused.stderr
    assert "Traceback" not in refused.stderr
    assert not (home / "photos").exists()


def test_worker_waits_for_nobody_to_mark_the_photos(home: Path, database: Database) -> None:
    refused = call_command(home, "worker", DATABASE_URL=database.owner)

    assert refused.returncode == 1
    assert "Start the server first" in refused.stderr


def test_migration_does_without_photos_that_it_cannot_reach(
    home: Path, blank_database: Database
) -> None:
    (home / "photos").touch()

    done = call_command(home, "migrate", DATABASE_URL=blank_database.owner)
    with psycopg.connect(blank_database.owner) as conn:
        marked = conn.execute("select claim_photo_store()").fetchone()

    assert done.returncode == 0, done.stderr
    assert "The photos are not marked yet" in done.stderr
    assert marked == (None,)


def test_migration_tells_why_the_database_does_not_answer(home: Path) -> None:
    refused = call_command(home, "migrate", DATABASE_URL="host=/nowhere")

    assert refused.returncode == 1
    assert "No such file or directory" in refused.stderr


@pytest.mark.parametrize("command", _COMMANDS, ids=lambda command: command[0])
def test_database_of_another_encoding_is_refused(
    home: Path, cluster: TestCluster, command: tuple[str, ...]
) -> None:
    with psycopg.connect(cluster.address.owner, autocommit=True) as conn:
        conn.execute("create database in_ascii encoding 'SQL_ASCII' locale 'C' template template0")
    try:
        refused = call_command(home, *command, DATABASE_URL=cluster.address.named("in_ascii").owner)
    finally:
        drop_database(cluster, "in_ascii")

    assert refused.returncode == 1
    assert "encoding SQL_ASCII" in refused.stderr


def test_command_with_the_secrets_of_another_installation_is_told_what_to_do(
    settings: Settings, cluster: TestCluster
) -> None:
    write_secrets(
        settings.home, replace(cluster.secrets, api_password=cluster.secrets.worker_password)
    )

    async def ask() -> None:
        async with db_session(settings, "api", name="test"):
            pass

    with pytest.raises(DatabaseUnavailableError, match=r"Copy secrets\.json"):
        asyncio.run(ask())
