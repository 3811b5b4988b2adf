"""The doctor on cron schedules: on tables of the shape of pg_cron's and pg_net's."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from automatch.ops.doctor.check import Health
from tests.support.doctor import CRON_AND_NET, Patient

pytestmark = pytest.mark.anyio

_PATH = "/functions/v1/match-generator"
_NAMES = [
    *("schedule.there", "schedule.fields", "schedule.running", "schedule.url", "schedule.key"),
    "schedule.answers",
]


def _command(url: str, key: str = "'Bearer ' || (select 'from the vault')") -> str:
    return (
        f"SELECT net.http_post(url := '{url}', headers := jsonb_build_object("
        f"'Content-Type', 'application/json', 'Authorization', {key}))"
    )


async def _schedule(patient: Patient, schedule: str = "* * * * *", *, command: str = "") -> None:
    await patient.run(
        "select cron.schedule('process-match-jobs', %s, %s)",
        schedule,
        command or _command(f"http://127.0.0.1:1{_PATH}"),
    )


async def _ran(patient: Patient, *, seconds_ago: int, status: str = "succeeded") -> None:
    await patient.run(
        "insert into cron.job_run_details (jobid, status, return_message, start_time, end_time)"
        " select jobid, %s, 'relation x does not exist', t, t from cron.job,"
        " lateral (select now() - make_interval(secs => %s)) as at (t)",
        status,
        seconds_ago,
    )


@pytest.fixture
async def scheduled(patient: Patient) -> Patient:
    await patient.run(CRON_AND_NET)
    return patient


@asynccontextmanager
async def _answering(status: str) -> AsyncIterator[str]:
    """Give the address of a server that answers everything with one status."""

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


async def _as_if_pg_cron_were_installed(patient: Patient) -> None:
    await patient.run(
        "insert into pg_extension"
        " (oid, extname, extowner, extnamespace, extrelocatable, extversion)"
        " values (99999, 'pg_cron', 10, 'pg_catalog'::regnamespace, false, '1.6')"
    )


async def test_without_pg_cron_nothing_is_amiss(patient: Patient) -> None:
    await patient.run("drop schema if exists cron cascade")
    await patient.run("drop schema if exists net cascade")
    found = await patient.look_at_all()

    for name in _NAMES:
        assert found[name].health is Health.SKIPPED
        assert "is not installed" in found[name].says


async def test_right_schedule_is_well(scheduled: Patient) -> None:
    async with _answering("401 Unauthorized") as url:
        await _schedule(scheduled, command=_command(url + _PATH))
        await _ran(scheduled, seconds_ago=20)
        await scheduled.run("insert into net._http_response (status_code) values (200)")
        found = await scheduled.look_at_all()

    assert {name: found[name].health for name in _NAMES} == dict.fromkeys(_NAMES, Health.OK)


async def test_missing_and_switched_off_schedule(scheduled: Patient) -> None:
    missing = await scheduled.look("schedule.there")
    await _schedule(scheduled)
    await scheduled.run("update cron.job set active = false")
    off = await scheduled.look("schedule.there")

    assert missing.health is off.health is Health.WARN
    assert "no cron job process-match-jobs" in missing.says
    assert "switched off" in off.says


@pytest.mark.parametrize("real", [True, False], ids=["pg_cron", "stand-in"])
async def test_six_fields_are_named_and_put_right(scheduled: Patient, real: bool) -> None:
    await _schedule(scheduled, "*/30 * * * * *")
    if real:
        await _as_if_pg_cron_were_installed(scheduled)

    found = await scheduled.look("schedule.fields")

    assert found.health is (Health.FAIL if real else Health.WARN)
    assert "process-match-jobs (*/30 * * * * *)" in found.says
    assert ("every 30 minutes" in found.says) is real
    assert found.fix == "automatch schedule --every 30s"
    command = await scheduled.run("select command from cron.job")
    assert (await scheduled.repair("schedule.fields")).health is Health.OK
    assert await scheduled.run("select schedule from cron.job") == [("30 seconds",)]
    assert await scheduled.run("select command from cron.job") == command
    assert await scheduled.audited() == [
        {"check": "schedule.fields", "jobs": ["process-match-jobs"]}
    ]


async def test_schedule_that_does_not_run(scheduled: Patient) -> None:
    await _schedule(scheduled)
    never = await scheduled.look("schedule.running")
    await _ran(scheduled, seconds_ago=600)
    long_ago = await scheduled.look("schedule.running")
    await _ran(scheduled, seconds_ago=5, status="failed")
    failed = await scheduled.look("schedule.running")

    assert never.health is Health.WARN
    assert long_ago.health is failed.health is Health.FAIL
    assert "has never run" in never.says
    assert "600 s ago" in long_ago.says
    assert "failed: relation x does not exist" in failed.says


@pytest.mark.parametrize(
    ("url", "told"),
    [
        (f"https://YOUR_PROJECT_REF.supabase.co{_PATH}", "placeholder"),
        ("http://127.0.0.1:1/functions/v1/match-maker", f"and not {_PATH}"),
        (f"http://127.0.0.1:1{_PATH}", "Nobody answers"),
    ],
)
async def test_wrong_address(scheduled: Patient, url: str, told: str) -> None:
    await _schedule(scheduled, command=_command(url) + " -- match-generator")

    found = await scheduled.look("schedule.url")

    assert found.health is Health.FAIL
    assert told in found.says
    assert found.fix is not None
    assert scheduled.url in found.fix


async def test_address_of_something_else(scheduled: Patient) -> None:
    async with _answering("404 Not Found") as url:
        await _schedule(scheduled, command=_command(url + _PATH))
        found = await scheduled.look("schedule.url")

    assert found.health is Health.FAIL
    assert "answers 404" in found.says


async def test_key_that_is_not_set(scheduled: Patient) -> None:
    key = "'Bearer ' || current_setting('app.settings.service_role_key')"
    await _schedule(scheduled, command=_command(f"http://127.0.0.1:1{_PATH}", key))

    found = await scheduled.look("schedule.key")

    assert found.health is Health.FAIL
    assert "app.settings.service_role_key, which is not set" in found.says


async def test_key_in_a_database_setting(scheduled: Patient) -> None:
    ((name,),) = await scheduled.run("select current_database()")
    await scheduled.run(f"alter database {name} set app.settings.service_role_key = 'sesame'")
    key = "'Bearer ' || current_setting('app.settings.service_role_key')"
    await _schedule(scheduled, command=_command(f"http://127.0.0.1:1{_PATH}", key))

    in_use = await scheduled.look("schedule.setting")
    assert in_use.health is Health.WARN
    assert in_use.repair is None
    assert (await scheduled.look("schedule.key")).health is Health.OK

    await _schedule(scheduled)
    unused = await scheduled.look("schedule.setting")
    assert unused.health is Health.WARN
    assert "sesame" not in repr(unused)
    assert (await scheduled.repair("schedule.setting")).health is Health.OK


@pytest.mark.parametrize(
    ("row", "health", "told"),
    [
        ("(401, null, false)", Health.FAIL, "the key is wrong"),
        ("(404, null, false)", Health.FAIL, "the address is wrong"),
        ("(null, 'Could not resolve host', false)", Health.FAIL, "Could not resolve host"),
        ("(null, null, true)", Health.FAIL, "it took too long"),
        ("(200, null, false), (401, null, false)", Health.WARN, "1 of 2"),
    ],
)
async def test_calls_that_are_not_answered_well(
    scheduled: Patient, row: str, health: Health, told: str
) -> None:
    await scheduled.run(
        f"insert into net._http_response (status_code, error_msg, timed_out) values {row}"
    )

    found = await scheduled.look("schedule.answers")

    assert found.health is health
    assert told in found.says
