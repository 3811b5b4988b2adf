"""Connection strings of the four logins, embedded and on a server of the operator's."""

from __future__ import annotations

from pathlib import Path

import pytest
from psycopg.conninfo import conninfo_to_dict
from pydantic import SecretStr

from automatch.errors.configuration import SettingsError
from automatch.postgres.addresses import (
    Role,
    database_address,
    is_for_writing,
    pooled_address,
    socket_folder,
)
from automatch.settings import Settings
from automatch.settings.secrets import Secrets

SECRETS = Secrets(
    "j" * 32,
    "owner/pass@word",
    "api-pass",
    "worker pass?&",
    "schedule-pass",
    "p" * 32,
    "a" * 32,
    "v" * 32,
)


def _settings(url: str | None = None, home: Path = Path("/srv/auto match")) -> Settings:
    return Settings(home=home, database_url=None if url is None else SecretStr(url))


@pytest.mark.parametrize(
    ("role", "user", "password"),
    [
        ("owner", "postgres", "owner/pass@word"),
        ("api", "automatch_api", "api-pass"),
        ("worker", "automatch_worker", "worker pass?&"),
        ("schedule", "automatch_schedule", "schedule-pass"),
    ],
)
def test_embedded_address_names_the_socket_and_the_login(
    role: Role, user: str, password: str
) -> None:
    address = database_address(_settings(), SECRETS, role)

    assert conninfo_to_dict(address) == {
        "user": user,
        "password": password,
        "dbname": "postgres",
        "host": "/srv/auto match/postgres/run",
        "port": "5432",
    }


def test_owner_of_a_given_server_is_the_url_itself() -> None:
    url = "postgresql://me:mine@db.example:5433/app?sslmode=require"

    assert database_address(_settings(url), SECRETS, "owner") == url


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://me:mine@db.example:5433/app?sslmode=require",
        "postgres://db.example:5433/app?sslmode=require&user=me&password=mine",
        "host=db.example port=5433 dbname=app sslmode=require user=me password=mine",
    ],
)
def test_logins_of_a_given_server_replace_user_and_password_alone(url: str) -> None:
    address = database_address(_settings(url), SECRETS, "worker")

    assert ("://" in address) == ("://" in url)
    assert conninfo_to_dict(address) == {
        "user": "automatch_worker",
        "password": "worker pass?&",
        "host": "db.example",
        "port": "5433",
        "dbname": "app",
        "sslmode": "require",
    }


@pytest.mark.parametrize(
    ("url", "which"),
    [
        ("postgresql://me:mine@one:5433,two:5434/app", "read-write"),
        ("postgresql://me:mine@/app?host=/run/one,/run/two&port=1,2", "read-write"),
        ("host=one,two dbname=app user=me", "read-write"),
        ("postgresql://me:mine@one,two/app?target_session_attrs=any", "any"),
        ("postgresql://me:mine@one/app", None),
    ],
)
def test_of_several_servers_every_login_takes_the_one_that_takes_writes(
    url: str, which: str | None
) -> None:
    for role in ("owner", "api", "worker", "schedule"):
        address = database_address(_settings(url), SECRETS, role)

        assert conninfo_to_dict(address).get("target_session_attrs") == which
        assert is_for_writing(address) == (which == "read-write")


def test_supabase_pooler_keeps_the_project_in_the_user_name() -> None:
    url = "postgresql://postgres.abcd:pw@aws-0-eu.pooler.supabase.com:5432/postgres"

    address = conninfo_to_dict(database_address(_settings(url), SECRETS, "api"))

    assert address["user"] == "automatch_api.abcd"


def test_broken_url_is_refused_without_being_quoted() -> None:
    with pytest.raises(SettingsError) as caught:
        database_address(
            _settings("postgresql://me:mine@host:5432/x?nonsense=hidden"), SECRETS, "api"
        )

    assert "AUTOMATCH_DATABASE_URL" in caught.value.message
    assert "hidden" not in caught.value.message
    assert caught.value.__suppress_context__


@pytest.mark.parametrize("name", ["x" * 100, "a,b"])
def test_socket_of_an_unusable_path_is_found_through_the_link(tmp_path: Path, name: str) -> None:
    home = tmp_path / name
    (home / "postgres").mkdir(parents=True)
    (home / "postgres" / "run").symlink_to("/tmp/short")

    assert socket_folder(home) == Path("/tmp/short")


def test_transactions_go_to_the_pooler_and_sessions_past_it() -> None:
    settings = Settings(
        database_url=SecretStr("postgresql://me@pooler:6432/app"),
        direct_url=SecretStr("postgresql://me:mine@db.example/app"),
    )

    pooled = conninfo_to_dict(pooled_address(settings, SECRETS, "api"))
    direct = conninfo_to_dict(database_address(settings, SECRETS, "api"))

    assert (pooled["host"], pooled["user"]) == ("pooler", "automatch_api")
    assert (direct["host"], direct["user"]) == ("db.example", "automatch_api")
    assert database_address(settings, SECRETS, "owner") == "postgresql://me:mine@db.example/app"


def test_direct_address_alone_is_refused() -> None:
    with pytest.raises(ValueError, match="direct_url needs database_url"):
        Settings(database_url=None, direct_url=SecretStr("postgresql://db.example/app"))
