"""All checks together: a healthy system passes, and the checks change and reveal nothing."""

from __future__ import annotations

from pathlib import Path

import psycopg
import pytest

from automatch.ops.doctor.check import Health
from automatch.ops.doctor.context import open_context
from automatch.settings import Settings
from automatch.settings.secrets import SECRET_NAMES
from automatch.vision import Embedder
from tests.support.doctor import CRON_AND_NET, Installation, problems, write_secrets
from tests.support.photos import astronaut, encode
from tests.support.system import System, running_worker

pytestmark = pytest.mark.anyio


@pytest.fixture
def installation(served_installation: Installation) -> Installation:
    """Give one with a server, which makes its keys and its folder of photos."""
    return served_installation


_CALL = "select net.http_post(url := '{}', headers := jsonb_build_object('a', {}))"


async def test_healthy_system_passes(
    installation: Installation, server: System, embedder: Embedder
) -> None:
    async with running_worker(installation.settings, installation.secrets, embedder):
        person = await server.join()
        await person.matched(encode(astronaut()))
        found = await installation.check_all()

    # `automatch up` creates the schedule, which has not run yet. The Postgres of the tests is not
    # durable; that of a real installation passes in tests/cli/commands/installation/test_up.py.
    # Nobody has said yet who runs it, nor where its backups are.
    operator = {f"operator.{name}" for name in ("contact", "owner", "schools", "texts")}
    assert problems(found).keys() <= operator | {
        "backup.recent",
        "machine.database",
        "schedule.running",
        "schedule.exists",
    }
    assert "can lose committed data" in found["machine.database"].message
    assert found["queue.workers"].message == "1 worker is connected."
    assert {name for name, result in found.items() if result.health is Health.OK} >= {
        *("machine.schema", "machine.web", "storage.files", "queue.waiting", "search.indexes"),
        *("search.faces", "access.rls", "access.grants"),
    }


async def test_session_of_the_checks_cannot_write(installation: Installation) -> None:
    async with open_context(installation.settings, actor="test") as context:
        with pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
            await context.database.execute("update match_settings set threshold = 0.1")


async def test_secrets_are_never_shown(installation: Installation) -> None:
    await installation.run(CRON_AND_NET)
    key = "eyJhbGciOiJIUzI1NiJ9.eyJyb2xlIjoic2VydmljZV9yb2xlIn0.c2VjcmV0"
    await installation.run(
        "select cron.schedule('process-match-jobs', '* * * * *', %s)",
        _CALL.format("http://127.0.0.1:1/x", f"'Bearer {key}'"),
    )
    await installation.run(
        "insert into cron.job_run_details (jobid, status, return_message, start_time)"
        " select jobid, 'failed', %s, now() from cron.job",
        f"ERROR: bad header Bearer {key}",
    )
    (name,) = (await installation.run("select current_database()"))[0]
    await installation.run(f"alter database {name} set app.settings.service_role_key = '{key}'")

    found = await installation.check_all()

    shown = repr(found)
    assert found["schedule.key"].health is Health.FAIL
    assert found["schedule.setting"].health is Health.WARN
    secrets = [getattr(installation.secrets, name) for name in SECRET_NAMES]
    for secret in (key, *secrets):
        assert secret not in shown


async def test_stopped_database_is_reported_and_the_rest_still_checked(
    installation: Installation, tmp_path: Path
) -> None:
    stopped = Settings(home=tmp_path / "stopped", database_url=None)
    write_secrets(stopped.home, installation.secrets)
    found = await Installation(stopped, installation.secrets, "http://127.0.0.1:1", "").check_all()

    assert found["machine.database"].health is Health.FAIL
    assert found["machine.database"].fix == "automatch up"
    assert found["machine.web"].health is Health.FAIL
    for name in ("machine.secrets", "machine.models", "storage.photos", "storage.disk"):
        assert found[name].health is Health.OK, found[name].message
    for name in ("queue.workers", "search.faces", "access.rls", "schedule.exists"):
        assert found[name].health is Health.SKIPPED
        assert found[name].message == "The database does not answer."


async def test_checks_create_no_data_folder(tmp_path: Path) -> None:
    nowhere = Settings(home=tmp_path / "nowhere", database_url=None)
    found = await Installation(nowhere, None, "http://127.0.0.1:1", "").check_all()

    assert found["storage.home"].health is Health.FAIL
    assert not nowhere.home.exists()
