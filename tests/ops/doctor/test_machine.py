"""The doctor's checks of the machine: each test breaks one thing, and its check reports it."""

from __future__ import annotations

import re
import time
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from unittest.mock import AsyncMock
from uuid import uuid4

import pytest
from psycopg import AsyncConnection

from automatch.auth.host_keys import read_fingerprints
from automatch.auth.project_keys import ProjectKey, ProjectKeys
from automatch.errors.store import PhotoStorageError
from automatch.ops.doctor import machine
from automatch.ops.doctor.check import Health
from automatch.postgres.lockfile import LockFile
from automatch.services.photos.photos import PhotoCheck
from automatch.settings.secrets import secrets_file
from automatch.store.operation.servers import report_server
from tests.support.doctor import Installation, write_secrets

pytestmark = pytest.mark.anyio


@pytest.fixture
def installation(served_installation: Installation) -> Installation:
    """Give one with a server, which makes its keys and its folder of photos."""
    return served_installation


async def test_readable_secrets_are_repaired(installation: Installation) -> None:
    secrets_file(installation.settings.home).chmod(0o644)
    assert (await installation.check("machine.secrets")).health is Health.FAIL

    assert (await installation.repair("machine.secrets")).health is Health.OK


@pytest.mark.parametrize("other", [None, "secrets.json", "receipt-key.json", "project_keys.json"])
async def test_host_with_other_keys_is_told(installation: Installation, other: str | None) -> None:
    keys = read_fingerprints(installation.settings.home, installation.secrets)
    if other is not None:
        keys[other] = "another"
    async with await AsyncConnection.connect(installation.owner, autocommit=True) as conn:
        await report_server(
            conn, uuid4(), host="box", version="1.0", streams=0, channels=0, keys=keys
        )
    found = await installation.check("machine.hosts")

    assert found.health is (Health.OK if other is None else Health.FAIL)
    if other is not None:
        assert f"on box has another {other} than" in found.message


async def test_key_that_expires_soon_is_warned_of_until_it_is_ended(
    installation: Installation,
) -> None:
    keys, now = ProjectKeys(installation.settings.home), int(time.time())
    keys.add(ProjectKey("old", "anon", now - 360 * 86400, now + 5 * 86400))
    keys.add(ProjectKey("brief", "anon", now, now + 86400))

    found = await installation.check("machine.secrets")
    keys.end("old")

    assert found.health is Health.WARN
    assert "automatch token end old" in (found.fix or "")
    assert (await installation.check("machine.secrets")).health is Health.OK


async def test_more_connections_than_the_server_has_are_warned_of(
    installation: Installation,
) -> None:
    def pooled(size: int) -> Installation:
        pool = installation.settings.pool.model_copy(update={"max_size": size})
        settings = installation.settings.model_copy(update={"pool": pool})
        return replace(installation, settings=settings)

    many = await pooled(500).check("machine.connections")
    few = await pooled(5).check("machine.connections")

    assert many.health is Health.WARN
    assert "513 with 1 and 1 of them" in many.message
    assert "AUTOMATCH_POOL__MAX_SIZE" in (many.fix or "")
    assert few.health is Health.OK


async def test_missing_model_file_fails(
    installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = installation.settings.vision.model_copy(
        update={"yunet_file": Path("/nowhere.onnx")}
    )
    settings = installation.settings.model_copy(update={"vision": elsewhere})

    found = await Installation(
        settings, installation.secrets, installation.url, installation.owner
    ).check("machine.models")

    assert found.health is Health.FAIL
    assert "/nowhere.onnx" in found.message


async def test_model_in_use_without_its_file_fails(installation: Installation) -> None:
    assert (await installation.check("machine.embedder")).health is Health.OK
    await installation.run(
        "insert into embedding_models (id, dimensions, midpoint, width, same_person_u)"
        " values ('sface', 128, 0.9, 0.1, 0.5)"
    )
    await installation.run("update embedding_models set active = id = 'sface'")

    found = await installation.check("machine.embedder")

    assert found.health is Health.FAIL
    assert "sface" in found.message
    assert found.fix == "automatch models fetch sface"


async def test_ai_service_that_does_not_answer_fails(installation: Installation) -> None:
    away = installation.settings.model_copy(update={"ai_url": "http://127.0.0.1:1"})
    there = installation.settings.model_copy(update={"ai_url": installation.url})

    assert (
        await replace(installation, settings=away).check("machine.models")
    ).health is Health.FAIL
    assert (await replace(installation, settings=there).check("machine.models")).health is Health.OK


async def test_postgres_of_a_running_server_is_told_from_a_stopped_one(
    installation: Installation,
) -> None:
    embedded = replace(
        installation, settings=installation.settings.model_copy(update={"database_url": None})
    )

    with LockFile(installation.settings.home):
        frozen = await embedded.check("machine.database")
    stopped = await embedded.check("machine.database")

    assert "runs here, and its Postgres does not answer" in frozen.message
    assert str(installation.settings.home / "postgres" / "log") in (frozen.fix or "")
    assert "is not running here" in stopped.message
    assert stopped.fix == "automatch up"


async def test_server_that_asks_for_its_photos_again_needs_no_help(
    installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(PhotoCheck, "check", AsyncMock(side_effect=PhotoStorageError))

    found = await installation.check("machine.web")

    assert found.health is Health.FAIL
    assert "Try again in a moment" in (found.fix or "")


async def test_old_schema_fails(installation: Installation) -> None:
    await installation.run(
        "delete from supabase_migrations.schema_migrations"
        " where version = (select max(version) from supabase_migrations.schema_migrations)"
    )
    found = await installation.check_all()

    assert found["machine.schema"].health is Health.FAIL
    assert found["machine.schema"].fix == "automatch migrate"
    assert found["queue.waiting"].health is Health.SKIPPED


async def test_wrong_clock_fails(
    installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Slow(machine.datetime):
        @classmethod
        def now(cls, tz=None):
            return super().now(tz) - timedelta(seconds=45)

    monkeypatch.setattr(machine, "datetime", Slow)

    began = time.monotonic()
    found = await installation.check("machine.clock")
    took_s = time.monotonic() - began

    assert found.health is Health.FAIL
    told = re.search(r"are (\d+) s apart", found.message)
    assert told is not None
    # How long the answer of the database took cannot be told from how late it is.
    assert 45 - took_s - 0.5 <= int(told[1]) <= 45


async def test_web_server_of_another_installation_fails(installation: Installation) -> None:
    ours = installation.secrets
    write_secrets(installation.settings.home, replace(ours, jwt_secret=ours.jwt_secret[::-1]))

    result = await installation.check("machine.web")

    assert result.health is Health.FAIL
    assert "not of this installation" in result.message


async def test_web_server_that_does_not_answer_fails(installation: Installation) -> None:
    away = Installation(
        installation.settings, installation.secrets, "http://127.0.0.1:1", installation.owner
    )

    assert (await away.check("machine.web")).health is Health.FAIL
