"""The bad day: back up under uploads, go on, erase somebody, kill everything, restore elsewhere."""

from __future__ import annotations

import asyncio
import hashlib
import json
import signal
from collections.abc import Iterator
from pathlib import Path

import httpx2
import psycopg
import pytest

from automatch.postgres.addresses import database_address
from automatch.settings import Settings
from automatch.settings.secrets import read
from tests.support.command import Running, call_command, run_command, running_up
from tests.support.homes import StoredHome
from tests.support.photos import portrait
from tests.support.postgres import Database, remove_home
from tests.support.system import Person, System
from tests.support.waiting import until

pytestmark = pytest.mark.anyio

_MOST_PEOPLE = 12


@pytest.fixture
def homes(migrated_home: StoredHome, tmp_path: Path) -> Iterator[tuple[Path, Path]]:
    """Give a data folder with a migrated database, and the path of another that is not there."""
    first, second = tmp_path / "first", tmp_path / "second"
    yield migrated_home.copy_to(first), second
    for home in (first, second):
        remove_home(home)


def _system(up: Running, client: httpx2.AsyncClient) -> System:
    settings, secrets = Settings(home=up.home), read(up.home)
    owner = database_address(settings, secrets, "owner")
    return System(up.url, settings, secrets, Database(owner, owner, owner, owner), client)


@pytest.mark.timeout(600)
async def test_drill(homes: tuple[Path, Path], tmp_path: Path) -> None:
    home, other = homes
    place, key = tmp_path / "backups", tmp_path / "backup.key"
    call_command(home, "backup", "new-key", key)
    settings = {
        "RETENTION__MIN_FREE_MB": "0",
        "LIMITS__ENABLED": "false",
        "BACKUP__TO": str(place),
    }
    joined: list[Person] = []

    with running_up(home, settings=settings) as up:
        async with httpx2.AsyncClient(base_url=up.url, timeout=60, verify=False) as client:
            system = _system(up, client)
            for number in range(3):
                joined.append(await system.join("male" if number % 2 else "female"))
                assert (await joined[-1].matched(portrait(number)))["status"] == "completed"

            backing_up = asyncio.create_task(
                asyncio.to_thread(
                    run_command, home, "backup", str(place), "--key-file", str(key), "--json"
                )
            )
            # Not as many as a busy machine takes meanwhile: the other place looks at each photo.
            while not backing_up.done() and len(joined) < _MOST_PEOPLE:
                joined.append(await system.join("male" if len(joined) % 2 else "female"))
                assert (await joined[-1].upload(portrait(len(joined)))).status_code == 202
            made = await backing_up
            assert made.returncode == 0, made.stderr

            late = await system.join()
            assert (await late.upload(portrait(len(joined) + 1))).status_code == 202
            erased = joined[0]
            done = await asyncio.to_thread(
                call_command, home, "user", "erase", erased.id, "--reason", "drill", "--yes"
            )
            assert done.returncode == 0, done.stderr
            digest = hashlib.sha256(erased.id.encode()).hexdigest()
            log = place / "erasures.log"
            await until(lambda: log.exists() and digest in log.read_text())
        up.stop(signal.SIGKILL)

    manifest = json.loads(made.stdout)
    restored = await asyncio.to_thread(
        call_command,
        other,
        "restore",
        place,
        *("--key-file", key, "--signed-by", manifest["signed_by"]),
        RETENTION__MIN_FREE_MB="0",
    )
    assert restored.returncode == 0, restored.stderr

    with running_up(other, settings=settings) as up:
        verified = await asyncio.to_thread(run_command, other, "verify", "--within", "60")
        assert verified.returncode == 0, verified.stdout
        async with httpx2.AsyncClient(base_url=up.url, timeout=60, verify=False) as client:
            system = _system(up, client)
            async with await psycopg.AsyncConnection.connect(
                system.database.owner, autocommit=True
            ) as conn:

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
