"""`automatch migrate` beside another installation on the same Postgres server."""

from __future__ import annotations

import asyncio
from pathlib import Path

import psycopg
import pytest

from automatch.postgres.addresses import API_LOGIN, address_of_login, login_passwords
from automatch.settings.secrets import read
from automatch.store.installation.migrate import migrate
from tests.support.build import one
from tests.support.command import call_command
from tests.support.postgres import Database, TestCluster


def test_another_installation_is_refused_before_anything_is_changed(
    cluster: TestCluster, template: str, blank_database: Database, tmp_path: Path
) -> None:
    other = tmp_path / "other"

    refused = call_command(other, "migrate", DATABASE_URL=blank_database.owner)
    before = read(other)
    rotated = call_command(
        other, "secrets", "rotate", "api-password", DATABASE_URL=blank_database.owner
    )

    for done in (refused, rotated):
        assert done.returncode == 1
        assert f"The login {API_LOGIN} of this Postgres server does not take" in done.stderr
        assert "automatch migrate --take-over" in done.stderr
        assert before.api_password not in done.stderr
    assert read(other) == before
    psycopg.connect(cluster.address.api).close()
    with psycopg.connect(blank_database.owner) as conn:
        assert one(conn, "select to_regnamespace('supabase_migrations') is null")


def test_logins_are_taken_over_when_told(
    cluster: TestCluster, template: str, blank_database: Database, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    try:
        done = call_command(other, "migrate", "--take-over", DATABASE_URL=blank_database.owner)

        again = call_command(other, "migrate", "--take-over", DATABASE_URL=blank_database.owner)
        checked = call_command(other, "migrate", "--check", DATABASE_URL=blank_database.owner)

        assert done.returncode == 0, done.stderr
        assert "already" not in done.stdout
        assert "this installation's already" in again.stdout
        assert (checked.returncode, checked.stdout) == (0, "")
        assert "up to date" in checked.stderr
        password = read(other).api_password
        psycopg.connect(address_of_login(blank_database.owner, API_LOGIN, password)).close()
        with pytest.raises(psycopg.OperationalError, match="authentication failed"):
            psycopg.connect(cluster.address.api)
    finally:
        # The other tests of this process sign in too.
        asyncio.run(migrate(blank_database.owner, login_passwords(cluster.secrets), take_over=True))
    psycopg.connect(cluster.address.api).close()
