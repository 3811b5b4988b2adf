"""`automatch secrets rotate`, on a running installation."""

from __future__ import annotations

from pathlib import Path

import anyio.to_thread
import psycopg
import pytest

from automatch.postgres.addresses import Role, database_address
from automatch.postgres.embedded import EmbeddedPostgres
from automatch.settings import Settings
from automatch.settings.database import PostgresSettings
from automatch.settings.secrets import SECRET_NAMES, load_or_create, read
from tests.support.command import call_command
from tests.support.homes import StoredHome

pytestmark = pytest.mark.anyio


async def test_every_secret_is_replaced_and_the_database_takes_the_new_passwords(
    empty_home: Path, created_home: StoredHome
) -> None:
    created_home.copy_to(empty_home)
    settings = Settings(
        home=empty_home, database_url=None, postgres=PostgresSettings(shared_buffers_mb=32)
    )
    before = read(empty_home)
    logins: list[Role] = ["owner", "api", "worker", "schedule"]
    async with EmbeddedPostgres(settings, before):
        async with await psycopg.AsyncConnection.connect(
            database_address(settings, before, "owner")
        ) as conn:
            await conn.execute("create role automatch_api login")
            await conn.execute("create role automatch_worker login")
            await conn.execute("create role automatch_schedule login")
        for name in SECRET_NAMES:
            done = await anyio.to_thread.run_sync(
                call_command, empty_home, "secrets", "rotate", name.replace("_", "-")
            )
            assert done.returncode == 0, done.stderr
            assert "Restart server and workers" in done.stdout

        after = read(empty_home)
        for login in logins:
            async with await psycopg.AsyncConnection.connect(
                database_address(settings, after, login)
            ) as conn:
                await conn.execute("select 1")
            with pytest.raises(psycopg.OperationalError):
                await psycopg.AsyncConnection.connect(database_address(settings, before, login))
    assert not any(getattr(before, name) == getattr(after, name) for name in SECRET_NAMES)
    assert after.old_jwt_secret == before.jwt_secret


def test_secrets_that_the_settings_give_are_not_rotated(empty_home: Path) -> None:
    load_or_create(empty_home)
    content = (empty_home / "secrets.json").read_text()

    done = call_command(empty_home, "secrets", "rotate", "photo-key", SECRETS=content)

    assert done.returncode == 1
    assert "rotate them where secrets.json is" in done.stderr
    assert (empty_home / "secrets.json").read_text() == content
