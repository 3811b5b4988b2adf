"""A streaming replica that feeds are read from: it stands still, dies, and comes back."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from automatch.ops.doctor.check import Health
from automatch.postgres.addresses import database_address
from automatch.settings import Settings
from automatch.settings.limits import LimitSettings
from automatch.settings.secrets import load_or_create
from automatch.settings.storage import RetentionSettings
from automatch.settings.telemetry import MetricsSettings
from tests.support.doctor import Installation
from tests.support.matches import add_matches, add_own_face
from tests.support.metrics import TOKEN, WITH_TOKEN, parse, value
from tests.support.postgres import Database
from tests.support.replica import Pair, replicated, serving_again
from tests.support.system import Person, System, running_server
from tests.support.waiting import until

pytestmark = pytest.mark.anyio


@pytest.fixture
async def pair(ready_home: Path) -> AsyncIterator[Pair]:
    """Give a primary that does not wait for its replica."""
    async with replicated(ready_home, synchronous=False) as pair:
        yield pair


async def _reads(system: System) -> dict[str, float]:
    told = parse(await system.client.get("/metrics", headers=WITH_TOKEN))
    name = "automatch_replica_reads_total"
    return {each: value(told, name, **{"from": each}) for each in ("replica", "primary")}


async def _read_from(system: System, person: Person) -> tuple[str, list[dict[str, Any]]]:
    """Return which server answered, and the feed."""
    before = await _reads(system)
    feed = await person.feed()
    after = await _reads(system)
    [where] = [name for name in after if after[name] > before[name]]
    return where, feed


async def test_feeds_come_from_the_replica_and_never_show_less_than_the_primary(
    ready_home: Path, pair: Pair
) -> None:
    settings = Settings(
        home=ready_home,
        database_url=SecretStr(pair.primary.address),
        replica_url=SecretStr(pair.standby.address),
        retention=RetentionSettings(min_free_mb=0),
        limits=LimitSettings(enabled=False),
        metrics=MetricsSettings(token=TOKEN),
    )
    secrets = load_or_create(ready_home)
    database = Database(
        *(
            database_address(settings, secrets, role)
            for role in ("owner", "api", "worker", "schedule")
        )
    )
    doctor = Installation(settings, secrets, "http://127.0.0.1:9", pair.primary.address)
    async with running_server(settings, secrets, database) as system:
        person = await system.join()
        face = await add_own_face(database, person.id)

        async def is_read() -> bool:
            return (await _read_from(system, person))[0] == "replica"

        async def is_well() -> bool:
            return (await doctor.check("machine.replica")).health is Health.OK

        await until(is_read)
        # On a busy machine it takes longer than reads wait for it, now and then.
        await until(is_well)
        # What was just written is there, however often it is tried.
        for count in range(1, 11):
            await add_matches(database, person.id, face, 1)
            _, feed = await _read_from(system, person)
            assert len(feed) == count
        # On a busy machine it may have fallen behind, and the primary answered meanwhile.
        await until(is_read)
        page = await person.get("/api/faces")
        assert len(page.json()["faces"]) == 1

        # It stands still: what a person hides, and whoever signs out, stays so.
        pair.standby.run("select pg_wal_replay_pause()")
        answer = await system.client.post(
            f"/api/matches/{feed[0]['id']}/dismiss", headers=person.headers
        )
        assert answer.status_code == 204
        where, after = await _read_from(system, person)
        assert (where, len(after)) == ("primary", 9)
        lagging = await doctor.check("machine.replica")
        assert lagging.health is Health.WARN
        pair.standby.run("select pg_wal_replay_resume()")
        await until(is_read)
        assert len(await person.feed()) == 9

        # It dies: the primary answers, and the replica again once it is back.
        pair.standby.process.kill()
        await pair.standby.process.wait()
        where, after = await _read_from(system, person)
        assert (where, len(after)) == ("primary", 9)
        assert (await doctor.check("machine.replica")).health is Health.WARN
        async with serving_again(pair.standby):
            await until(is_read)
