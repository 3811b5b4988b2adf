"""The doctor's checks of the queue: each test breaks one thing, and its check reports it."""

from __future__ import annotations

import pytest

from automatch.ops.doctor.check import Health
from automatch.vision import Embedder
from tests.support.build import a_face, a_job, a_profile, claim, connect, fail
from tests.support.doctor import Installation
from tests.support.system import running_worker
from tests.support.waiting import until

pytestmark = pytest.mark.anyio


async def test_missing_worker_fails(installation: Installation, embedder: Embedder) -> None:
    stopped = await installation.check("queue.workers")
    assert stopped.health is Health.FAIL
    assert stopped.fix == "automatch worker"

    async def is_found() -> bool:
        return (await installation.check("queue.workers")).health is Health.OK

    # It is counted once it is connected to be notified.
    async with running_worker(installation.settings, installation.secrets, embedder):
        await until(is_found)


async def test_workers_are_counted_by_what_they_hold(installation: Installation) -> None:
    """Some poolers name all sessions alike."""
    with connect(installation.owner) as conn, connect(installation.owner) as one:
        for _ in range(2):
            a_job(conn, a_face(conn, a_profile(conn)))
            conn.commit()
            claim(conn)
        conn.commit()
        one.execute("set application_name = 'automatch-worker'")
        found = await installation.check("queue.workers")

    assert found.message == "2 workers are connected."


async def test_paused_worker_is_told_with_its_reason(installation: Installation) -> None:
    assert (await installation.check("queue.faults")).health is Health.OK
    await installation.run(
        "insert into automatch.worker_faults (worker_id, message)"
        " values (gen_random_uuid(), 'function a() does not exist')"
    )

    paused = await installation.check("queue.faults")

    assert paused.health is Health.FAIL
    assert "function a() does not exist" in paused.message


async def test_jobs_that_stay_pending_fail(installation: Installation) -> None:
    with connect(installation.owner) as conn:
        a_job(conn, a_face(conn, a_profile(conn)))
    waiting = await installation.check("queue.waiting")
    assert waiting.health is Health.OK
    assert waiting.message.startswith("1 job is waiting, ")
    await installation.run("update match_jobs set created_at = created_at - interval '2 minutes'")

    assert (await installation.check("queue.waiting")).health is Health.FAIL
    await installation.run("select pause_match_jobs()")
    assert (await installation.check("queue.waiting")).health is Health.SKIPPED
    assert (await installation.check("queue.paused")).health is Health.WARN


async def test_job_of_a_dead_worker_is_released(installation: Installation) -> None:
    with connect(installation.owner) as conn:
        job = a_job(conn, a_face(conn, a_profile(conn)))
        claim(conn)
    assert (await installation.check("queue.stuck")).health is Health.OK
    await installation.run("update match_jobs set lease_expires_at = now() - interval '2 minutes'")
    assert (await installation.check("queue.stuck")).health is Health.FAIL

    assert (await installation.repair("queue.stuck")).health is Health.OK
    assert await installation.run("select status from match_jobs where id = %s", job) == [
        ("pending",)
    ]
    assert await installation.audit_log() == [{"check": "queue.stuck"}]


async def test_failed_jobs_are_reported_by_code_and_retried(installation: Installation) -> None:
    with connect(installation.owner) as conn:
        for code in ("no_face", "another_person", "job_crashed"):
            a_job(conn, a_face(conn, a_profile(conn)))
            job, token = claim(conn)
            assert fail(conn, job, token, code)

    found = await installation.check("queue.failed")
    assert found.health is Health.FAIL
    assert "job_crashed (1)" in found.message
    assert "no_face" not in found.message

    repaired = await installation.repair("queue.failed")
    assert repaired.health is Health.OK
    assert "could not be used: 1;" in repaired.message, "one waits for a decision"
    rows = await installation.run("select status, error_code from match_jobs order by created_at")
    assert rows == [("failed", "no_face"), ("failed", "another_person"), ("pending", None)]
