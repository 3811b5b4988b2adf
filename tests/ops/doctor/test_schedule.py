"""The doctor's checks of cron schedules, on the tables of pg_cron and pg_net."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import psycopg
import pytest

from automatch.ops.doctor.check import Health
from tests.support.doctor import CRON_AND_NET, Installation

pytestmark = pytest.mark.anyio

_PATH = "/functions/v1/match-generator"
_NAMES = [
    *("schedule.exists", "schedule.fields", "schedule.running", "schedule.url", "schedule.key"),
    "schedule.responses",
]


def _command(url: str, key: str = "'Bearer ' || (select 'from the vault')") -> str:
    return (
        f"SELECT net.http_post(url := '{url}', headers := jsonb_build_object("
        f"'Content-Type', 'application/json', 'Authorization', {key}))"
    )


async def _schedule(
    installation: Installation, schedule: str = "* * * * *", *, command: str = ""
) -> None:
    await installation.run(
        "select cron.schedule('process-match-jobs', %s, %s)",
        schedule,
        command or _command(f"http://127.0.0.1:1{_PATH}"),
    )


async def _ran(installation: Installation, *, seconds_ago: int, status: str = "succeeded") -> None:
    await installation.run(
        "insert into cron.job_run_details (jobid, status, return_message, start_time, end_time)"
        " select jobid, %s, 'relation x does not exist', t, t from cron.job,"
        " lateral (select now() - make_interval(secs => %s)) as at (t)",
        status,
        seconds_ago,
    )


@pytest.fixture
async def scheduled(installation: Installation) -> Installation:
    await installation.run(CRON_AND_NET)
    return installation


@asynccontextmanager
async def _answering(status: str) -> AsyncIterator[str]:
    """Give the address of a server that answers every request with one status."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(
            f"HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".encode()
        )
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"


async def _as_if_pg_cron_were_installed(installation: Installation) -> None:
    await installation.run(
        "insert into pg_extension"
        " (oid, extname, extowner, extnamespace, extrelocatable, extversion)"
        " values (99999, 'pg_cron', 10, 'pg_catalog'::regnamespace, false, '1.6')"
    )


async def test_without_pg_cron_the_checks_are_skipped(installation: Installation) -> None:
    await installation.run("drop schema if exists cron cascade")
    await installation.run("drop schema if exists net cascade")
    found = await installation.check_all("schedule.")

    for name in _NAMES:
        assert found[name].health is Health.SKIPPED
        assert "is not installed" in found[name].message


async def test_correct_schedule_passes(scheduled: Installation) -> None:
    async with _answering("401 Unauthorized") as url:
        await _schedule(scheduled, command=_command(url + _PATH))
        await _ran(scheduled, seconds_ago=20)
        await scheduled.run("insert into net._http_response (status_code) values (200)")
        found = await scheduled.check_all("schedule.")

    assert {name: found[name].health for name in _NAMES} == dict.fromkeys(_NAMES, Health.OK)


async def test_missing_or_disabled_schedule_is_a_warning(scheduled: Installation) -> None:
    missing = await scheduled.check("schedule.exists")
    await _schedule(scheduled)
    await scheduled.run("update cron.job set active = false")
    off = await scheduled.check("schedule.exists")

    assert missing.health is off.health is Health.WARN
    assert "no cron job process-match-jobs" in missing.message
    assert "is disabled" in off.message


@pytest.mark.parametrize("real", [True, False], ids=["pg_cron", "replacement"])
async def test_six_fields_are_reported_and_repaired(scheduled: Installation, real: bool) -> None:
    await _schedule(scheduled, "*/30 * * * * *")
    if real:
        await _as_if_pg_cron_were_installed(scheduled)

    found = await scheduled.check("schedule.fields")

    assert found.health is (Health.FAIL if real else Health.WARN)
    assert "process-match-jobs (*/30 * * * * *)" in found.message
    assert ("every 30 minutes" in found.message) is real
    assert found.fix == "automatch schedule --every 30s"
    command = await scheduled.run("select command from cron.job")
    assert (await scheduled.repair("schedule.fields")).health is Health.OK
    assert await scheduled.run("select schedule from cron.job") == [("30 seconds",)]
    assert await scheduled.run("select command from cron.job") == command
    assert await scheduled.audit_log() == [
        {"check": "schedule.fields", "jobs": ["process-match-jobs"]}
    ]


async def test_schedule_that_does_not_run_fails(scheduled: Installation) -> None:
    await _schedule(scheduled)
    never = await scheduled.check("schedule.running")
    await _ran(scheduled, seconds_ago=600)
    long_ago = await scheduled.check("schedule.running")
    await _ran(scheduled, seconds_ago=5, status="failed")
    failed = await scheduled.check("schedule.running")

    assert never.health is Health.WARN
    assert long_ago.health is failed.health is Health.FAIL
    assert "has never run" in never.message
    assert re.search(r"was 6\d\d s ago", long_ago.message)
    assert "failed: relation x does not exist" in failed.message


async def test_schedule_that_has_just_begun_is_given_time(scheduled: Installation) -> None:
    await _schedule(scheduled)
    with psycopg.connect(scheduled.owner, application_name="automatch-schedule") as leader:
        leader.execute("select pg_advisory_lock(automatch.lock_key('cron'))")
        never = await scheduled.check("schedule.running")
        await _ran(scheduled, seconds_ago=600)
        long_ago = await scheduled.check("schedule.running")

    assert never.health is long_ago.health is Health.OK, (never, long_ago)
    assert "is still to run" in never.message


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        (f"https://YOUR_PROJECT_REF.supabase.co{_PATH}", "placeholder"),
        ("http://127.0.0.1:1/functions/v1/match-maker", f"and not {_PATH}"),
        (f"http://127.0.0.1:1{_PATH}", "does not answer"),
    ],
)
async def test_wrong_address_fails(scheduled: Installation, url: str, reason: str) -> None:
    await _schedule(scheduled, command=_command(url) + " -- match-generator")

    found = await scheduled.check("schedule.url")

    assert found.health is Health.FAIL
    assert reason in found.message
    assert found.fix is not None
    assert scheduled.url in found.fix


async def test_address_of_another_server_fails(scheduled: Installation) -> None:
    async with _answering("404 Not Found") as url:
        await _schedule(scheduled, command=_command(url + _PATH))
        found = await scheduled.check("schedule.url")

    assert found.health is Health.FAIL
    assert "answers 404" in found.message


async def test_key_that_is_not_set_fails(scheduled: Installation) -> None:
    key = "'Bearer ' || current_setting('app.settings.service_role_key')"
    await _schedule(scheduled, command=_command(f"http://127.0.0.1:1{_PATH}", key))

    found = await scheduled.check("schedule.key")

    assert found.health is Health.FAIL
    assert "app.settings.service_role_key, which is not set" in found.message


async def test_key_in_a_database_setting_is_removed_once_unused(scheduled: Installation) -> None:
    ((name,),) = await scheduled.run("select current_database()")
    await scheduled.run(f"alter database {name} set app.settings.service_role_key = 'sesame'")
    key = "'Bearer ' || current_setting('app.settings.service_role_key')"
    await _schedule(scheduled, command=_command(f"http://127.0.0.1:1{_PATH}", key))

    in_use = await scheduled.check("schedule.setting")
    assert in_use.health is Health.WARN
    assert in_use.repair is None
    assert (await scheduled.check("schedule.key")).health is Health.OK

    await _schedule(scheduled)
    unused = await scheduled.check("schedule.setting")
    assert unused.health is Health.WARN
    assert "sesame" not in repr(unused)
    assert (await scheduled.repair("schedule.setting")).health is Health.OK


@pytest.mark.parametrize(
    ("row", "health", "reason"),
    [
        ("(401, null, false)", Health.FAIL, "the key is wrong"),
        ("(404, null, false)", Health.FAIL, "the address is wrong"),
        ("(null, 'Could not resolve host', false)", Health.FAIL, "Could not resolve host"),
        ("(null, null, true)", Health.FAIL, "it took too long"),
        ("(200, null, false), (401, null, false)", Health.WARN, "1 of 2"),
    ],
)
async def test_failed_calls_are_reported_with_the_reason(
    scheduled: Installation, row: str, health: Health, reason: str
) -> None:
    await scheduled.run(
        "insert into net._http_response (id, status_code, error_msg, timed_out)"
        " select row_number() over (), r.status::integer, r.error::text, r.late"
        f" from (values {row}) as r (status, error, late)"
    )

    found = await scheduled.check("schedule.responses")

    assert found.health is health
    assert reason in found.message
