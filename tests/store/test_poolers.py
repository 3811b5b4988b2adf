"""What becomes of an address that leads to pgbouncer, by its mode."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from automatch.settings import Settings
from automatch.vision import Embedder
from tests.support.command import call_command
from tests.support.doctor import write_secrets
from tests.support.pgbouncer import find_pgbouncer, running_pgbouncer
from tests.support.photos import astronaut, encode
from tests.support.postgres import Database, TestCluster
from tests.support.system import running_server, running_worker

pytestmark = pytest.mark.skipif(find_pgbouncer() is None, reason="pgbouncer is not installed")

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
@pytest.mark.parametrize("pooled", ["session"], indirect=True)
async def test_photo_is_matched_through_a_session_pooler(
    pooled: str, cluster: TestCluster, database: Database, settings: Settings, embedder: Embedder
) -> None:
    settings = settings.model_copy(
        update={"database_url": Settings(database_url=pooled).database_url}
    )
    async with (
        running_server(settings, cluster.secrets, database) as server,
        running_worker(settings, cluster.secrets, embedder),
    ):
        person = await server.join()

        job = await person.matched(encode(astronaut()))

    assert job["status"] == "completed"
