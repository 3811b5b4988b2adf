"""What becomes of an address that leads to pgbouncer, by its mode."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from uuid import UUID, uuid4

import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from automatch.errors.store import ServerUnfitError
from automatch.model.people import Claims, Role
from automatch.settings import Settings
from automatch.settings.database import PoolSettings
from automatch.store.database import Database as Pool
from automatch.store.installation.server_check import check_server
from automatch.vision import Embedder
from tests.support.command import call_command
from tests.support.doctor import write_secrets
from tests.support.pgbouncer import find_pgbouncer, running_pgbouncer
from tests.support.photos import astronaut, encode
from tests.support.postgres import Database, TestCluster
from tests.support.system import running_server, running_worker

pytestmark = pytest.mark.skipif(find_pgbouncer() is None, reason="pgbouncer is not installed")

_CLIENTS = 20
"""More than the pooler has sessions for a login."""
_REPEATS = 8
"""Enough for psycopg to prepare a statement, if it may."""
COMMANDS = ["migrate", "serve", "worker", "doctor"]


@pytest.fixture
def pooled(request: pytest.FixtureRequest, database: Database) -> Iterator[str]:
    """Give the owner's address through pgbouncer in the mode of the parameter."""
    with running_pgbouncer(request.param, [database.owner, database.api, database.worker]) as url:
        yield url


@pytest.mark.parametrize("pooled", ["transaction"], indirect=True)
def test_transaction_pooler_is_refused_by_every_command(
    pooled: str, cluster: TestCluster, tmp_path: Path
) -> None:
    write_secrets(tmp_path / "home", cluster.secrets)

    for command in COMMANDS:
        done = call_command(tmp_path / "home", command, DATABASE_URL=pooled, PORT="0")

        assert done.returncode == 1, command
        said = " ".join((done.stdout + done.stderr).split())
        assert "a pooler that gives each transaction another session" in said, command


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("pooled", "direct"),
    [("session", False), ("transaction", True)],
    ids=["session", "transaction"],
    indirect=["pooled"],
)
async def test_photo_is_matched_through_a_pooler(
    pooled: str,
    direct: bool,
    cluster: TestCluster,
    database: Database,
    settings: Settings,
    embedder: Embedder,
) -> None:
    urls = Settings(database_url=pooled, direct_url=database.owner if direct else None)
    settings = settings.model_copy(
        update={"database_url": urls.database_url, "direct_url": urls.direct_url}
    )
    async with (
        running_server(settings, cluster.secrets, database) as server,
        running_worker(settings, cluster.secrets, embedder),
    ):
        person = await server.join()

        job = await person.matched(encode(astronaut()))

    assert job["status"] == "completed"


def _login(address: str) -> dict[str, str]:
    """Return who signs in by this address; the pooler leads to every database."""
    given = conninfo_to_dict(address)
    return {name: str(given[name]) for name in ("user", "password")}


@pytest.mark.anyio
@pytest.mark.parametrize("pooled", ["transaction"], indirect=True)
async def test_two_addresses_have_to_be_of_one_database(
    pooled: str, database: Database, blank_database: Database
) -> None:
    await check_server(database.owner, pooled=pooled)

    with pytest.raises(ServerUnfitError, match="another database than AUTOMATCH_DIRECT_URL"):
        await check_server(blank_database.owner, pooled=pooled)


@pytest.mark.anyio
@pytest.mark.parametrize("pooled", ["transaction"], indirect=True)
async def test_transactions_that_share_sessions_leave_nothing_to_each_other(
    pooled: str, database: Database
) -> None:
    # Many more connections than the pooler has sessions, each repeating one statement.
    async with Pool(
        make_conninfo(pooled, **_login(database.api)),
        PoolSettings(max_size=_CLIENTS),
        name="test",
        direct=database.api,
    ) as db:

        async def act(person: UUID) -> None:
            claims = Claims(Role.AUTHENTICATED, person)
            for _ in range(_REPEATS):
                async with db.as_user(claims) as conn:
                    row = await (await conn.execute("select automatch.uid()")).fetchone()
                assert row == (person,)
                async with db.connection() as conn:
                    row = await (
                        await conn.execute(
                            "select session_user = current_user,"
                            " current_setting('request.jwt.claims', true)"
                        )
                    ).fetchone()
                assert row in {(True, ""), (True, None)}

        await asyncio.gather(*(act(uuid4()) for _ in range(_CLIENTS)))
