"""Which versions of the program work on which schema, and what the others are told."""

from __future__ import annotations

import shutil

import psycopg
import pytest

from automatch.cli.commands.installation import serve
from automatch.errors.store import DatabaseNewerError, DatabaseOlderError
from automatch.settings import Settings
from automatch.store.installation import schema_version
from automatch.store.installation.schema_version import SCHEMA, check_schema
from automatch.worker_app import open_worker
from tests.support.build import set_schema_version
from tests.support.embedder import FakeEmbedder
from tests.support.postgres import Database, TestCluster

pytestmark = pytest.mark.anyio


async def check(address: str) -> None:
    async with await psycopg.AsyncConnection.connect(address) as conn:
        await check_schema(conn)


async def test_migrated_database_has_the_schema_of_this_version(database: Database) -> None:
    with psycopg.connect(database.api) as conn:
        row = conn.execute("select version from public.schema_version()").fetchone()

    assert row == (SCHEMA,)


@pytest.mark.parametrize(
    ("version", "oldest_program", "refusal", "words"),
    [
        (SCHEMA, SCHEMA, None, ""),
        (SCHEMA + 1, SCHEMA, None, ""),
        (SCHEMA + 2, SCHEMA + 1, DatabaseNewerError, "install the version that migrated it"),
        (SCHEMA - 1, SCHEMA - 1, DatabaseOlderError, "run `automatch migrate`"),
    ],
)
async def test_neighbours_work_together_and_others_are_told_what_to_do(
    database: Database,
    version: int,
    oldest_program: int,
    refusal: type[Exception] | None,
    words: str,
) -> None:
    set_schema_version(database.owner, version, oldest_program)

    for address in (database.api, database.worker):
        if refusal is None:
            await check(address)
        else:
            with pytest.raises(refusal, match=words):
                await check(address)


async def test_program_may_work_on_the_schema_before_its_own(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(schema_version, "SCHEMA", SCHEMA + 1)

    await check(database.worker)


async def test_database_that_nobody_migrated_is_told_so(blank_database: Database) -> None:
    with pytest.raises(DatabaseOlderError, match="automatch migrate"):
        await check(blank_database.owner)


async def test_neither_server_nor_worker_starts_on_a_schema_that_left_it_behind(
    settings: Settings, database: Database, cluster: TestCluster
) -> None:
    settings.home.mkdir(mode=0o700)
    shutil.copy2(cluster.settings.home / "secrets.json", settings.home)
    set_schema_version(database.owner, SCHEMA + 2, SCHEMA + 1)

    with pytest.raises(DatabaseNewerError):
        await serve._serve(settings, None, 1, None)
    with pytest.raises(DatabaseNewerError):
        async with open_worker(settings, cluster.secrets, FakeEmbedder()):
            pass
