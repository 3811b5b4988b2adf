"""The bad day: back up under uploads, go on, erase somebody, lose everything, restore elsewhere."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Iterator
from contextlib import AsyncExitStack
from pathlib import Path

import httpx2
import psycopg
import pytest
from pydantic import SecretStr

from automatch.postgres.addresses import database_address
from automatch.settings import Settings
from automatch.settings.database import PoolSettings
from automatch.settings.limits import LimitSettings
from automatch.settings.secrets import read
from automatch.settings.storage import BackupSettings, RetentionSettings
from automatch.vision import Embedder
from automatch.worker.maintenance import runner as maintenance_runner
from tests.support import kept_pools
from tests.support.command import call_command, run_command, running_up
from tests.support.homes import StoredHome
from tests.support.patience import PATIENT
from tests.support.photos import portrait
from tests.support.postgres import remove_home, running_cluster
from tests.support.system import Person, running_server, running_worker
from tests.support.waiting import until

pytestmark = pytest.mark.anyio

_MOST_PEOPLE = 6


@pytest.fixture
def homes(migrated_home: StoredHome, tmp_path: Path) -> Iterator[tuple[Path, Path]]:
    """Give a data folder with a migrated database, and the path of another that is not there."""
    first, second = tmp_path / "first", tmp_path / "second"
    yield migrated_home.copy_to(first), second
    for home in (first, second):
        remove_home(home)


@pytest.mark.timeout(600)
async def test_drill(
    homes: tuple[Path, Path],
    tmp_path: Path,
    embedder: Embedder,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    home, other = homes
    place, key = tmp_path / "backups", tmp_path / "backup.key"
    # What is erased is looked for every five seconds; after a look in vain, every thirty.
    monkeypatch.setattr(maintenance_runner, "_ERASE_EVERY_S", 0.05)
    joined: list[Person] = []

    async with running_cluster(home) as cluster, AsyncExitStack() as stack:
        stack.push_async_callback(kept_pools.close_all)

        async def run(*words: object) -> str:
            done = await asyncio.to_thread(
                call_command, home, *words, DATABASE_URL=cluster.address.owner
            )
            assert done.returncode == 0, done.stderr
            return done.stdout

        await run("backup", "new-key", key)
        settings = Settings(
            home=home,
            database_url=SecretStr(cluster.address.owner),
            retention=RetentionSettings(min_free_mb=0),
            limits=LimitSettings(enabled=False),
            # A busy machine that backs up beside it answers late.
            pool=PoolSettings(timeout_s=60, transaction_timeout_s=60),
            backup=BackupSettings(to=str(place)),
        )
        async with (
            running_server(settings, cluster.secrets, cluster.address) as system,
            running_worker(settings, cluster.secrets, embedder),
        ):
            for number in range(3):
                joined.append(await system.join("male" if number % 2 else "female"))
                assert (await joined[-1].matched(portrait(number)))["status"] == "completed"

            backing_up = asyncio.create_task(run("backup", place, "--key-file", key, "--json"))
            # Not as many as a busy machine takes meanwhile: the other place looks at each photo.
            while not backing_up.done() and len(joined) < _MOST_PEOPLE:
                joined.append(await system.join("male" if len(joined) % 2 else "female"))
                assert (await joined[-1].upload(portrait(len(joined)))).status_code == 202
            manifest = json.loads(await backing_up)

            late = await system.join()
            assert (await late.upload(portrait(len(joined) + 1))).status_code == 202
            erased = joined[0]
            await run("user", "erase", erased.id, "--reason", "drill", "--yes")
            digest = hashlib.sha256(erased.id.encode()).hexdigest()
            log = place / "erasures.log"
            await until(lambda: log.exists() and digest in log.read_text())
    remove_home(home)

    restored = await asyncio.to_thread(
        call_command,
        other,
        "restore",
        place,
        *("--key-file", key, "--signed-by", manifest["signed_by"]),
        RETENTION__MIN_FREE_MB="0",
    )
    assert restored.returncode == 0, restored.stderr

    more = {"RETENTION__MIN_FREE_MB": "0", "LIMITS__ENABLED": "false"}
    with running_up(other, settings=more) as up:
        verified = await asyncio.to_thread(
            run_command, other, "verify", "--within", "60", module=PATIENT
        )
        assert verified.returncode == 0, verified.stdout
        async with httpx2.AsyncClient(base_url=up.url, timeout=60, verify=False) as client:
            address = database_address(Settings(home=other), read(other), "owner")
            async with await psycopg.AsyncConnection.connect(address, autocommit=True) as conn:

                async def ask(statement: str) -> list[tuple[object, ...]]:
                    return await (await conn.execute(statement.encode())).fetchall()

                people = {str(row[0]) for row in await ask("select id from public.profiles")}
                assert len(people) == manifest["tables"]["public.profiles"] - 1
                assert {each.id for each in joined[1:3]} <= people
                assert erased.id not in people
                assert late.id not in people

                async def all_ended() -> bool:
                    open_jobs = "select from public.match_jobs where completed_at is null"
                    return await ask(open_jobs) == []

                # Those that waited for a worker have their photos too.
                await until(all_ended)
                assert await ask("select from public.match_jobs where status = 'failed'") == []
            # The keys are the same: who was signed in still is.
            again = Person(joined[1].id, joined[1].email, joined[1].token, client)
            answer = await again.get("/api/matches")
            assert answer.status_code == 200
            image = answer.json()["matches"][0]["face"]["image_url"]
            assert (await client.get(image)).content[:2] == b"\xff\xd8"
