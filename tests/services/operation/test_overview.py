"""What an operator sees at a glance, with the rights of the server's login."""

from __future__ import annotations

from uuid import uuid4

import pytest

from automatch.errors.cause import Cause, cause_of
from automatch.model.history import Stage
from automatch.model.jobs import JobStatus
from automatch.model.operators import OperatorRole
from automatch.services.operation.overview import count_waiting, load_overview
from automatch.settings import Settings
from automatch.settings.database import PoolSettings
from automatch.store.database import Database
from automatch.store.operation import history, servers
from automatch.store.operation.overview import Waiting
from automatch.store.replica import Replica
from tests.support import build
from tests.support.build import connect
from tests.support.kept_pools import KeptDatabase
from tests.support.operators import Desk

pytestmark = pytest.mark.anyio


@pytest.fixture
async def db(database):
    async with KeptDatabase(database.api, PoolSettings(), name="test") as db:
        yield db


async def test_overview_of_a_new_installation_has_no_jobs_and_its_disk(
    db: Database, settings: Settings
) -> None:
    overview = await load_overview(db, settings)

    assert (overview.statuses, overview.stages, overview.workers) == ([], {}, 0)
    assert overview.failures == {cause: [] for cause in Cause}
    assert [point.queued for point in overview.history] == [0]
    assert overview.disk is not None
    assert 0 < overview.disk.free_bytes < overview.disk.total_bytes
    assert overview.servers == []


@pytest.mark.parametrize("keeps_up", [True, False])
async def test_overview_tells_how_far_the_replica_is_behind(
    db: Database, database, settings: Settings, keeps_up: bool
) -> None:
    replica = Replica(db, database.api, PoolSettings())
    replica.is_used = keeps_up
    overview = await load_overview(db, settings, reads=replica)

    assert overview.replica_lag_s is not None
    assert (overview.replica_lag_s == 0) is keeps_up
    assert (await load_overview(db, settings, reads=db)).replica_lag_s is None


async def test_overview_tells_people_from_faults_and_counts_what_is_not_over_yet(
    db: Database, database, settings: Settings
) -> None:
    with connect(database.owner, autocommit=True) as conn:
        (_, her_face), _ = build.a_pair(conn)
        build.a_match(conn, her_face)
        for code in ("face_blurred", "job_crashed", "job_cancelled", "no_face", "no_face"):
            job = build.a_job(conn, build.a_face(conn, build.a_profile(conn)))
            build.fail(conn, job, build.claim(conn)[1], code)
        build.a_job(conn, build.a_face(conn, build.a_profile(conn)))
    overview = await load_overview(db, settings)

    assert {
        cause: [(reason.code, reason.jobs) for reason in reasons]
        for cause, reasons in overview.failures.items()
    } == {
        Cause.PERSON: [("no_face", 2), ("face_blurred", 1)],
        Cause.OPERATOR: [("job_cancelled", 1)],
        Cause.SYSTEM: [("job_crashed", 1)],
    }
    assert {row.status: row.count for row in overview.statuses} == {
        JobStatus.PENDING: 1,
        JobStatus.COMPLETED: 1,
        JobStatus.FAILED: 5,
    }
    assert (overview.rates.queued_minute, overview.rates.ended_minute) == (7, 6)
    assert sum(point.completed for point in overview.history) == 1
    assert overview.stages[Stage.TO_END].jobs == 1
    assert Stage.TO_SCREEN not in overview.stages


async def test_server_is_seen_with_its_feed_clients_until_it_stops(
    db: Database, settings: Settings
) -> None:
    server = uuid4()
    for streams in (0, 3):
        async with db.connection() as conn:
            await servers.report_server(
                conn, server, host="box", version="1.0", streams=streams, channels=1
            )
    [seen] = (await load_overview(db, settings)).servers
    assert (seen.id, seen.host, seen.streams, seen.channels, seen.alive) == (
        *(server, "box", 3, 1),
        True,
    )
    async with db.connection() as conn:
        await servers.forget_server(conn, server)

    assert (await load_overview(db, settings)).servers == []


async def test_history_of_a_month_has_steps_of_some_hours(db: Database, database) -> None:
    with connect(database.owner, autocommit=True) as conn:
        conn.execute(
            "insert into automatch.history"
            " select s, 1, 1, 0, 2, 0, '{\"no_face\": 1}', '{}', 3, 60 from generate_series("
            " date_bin('5 minutes', now() - interval '29 days', 'epoch'), now(), '5 minutes') as s"
        )
    async with db.connection() as conn:
        points = await history.load_history(conn, 30 * 24)

    assert 225 <= len(points) <= 240
    middle = points[100]
    assert (middle.queued, middle.matches, middle.failures) == (36, 72, {"no_face": 36})
    assert (middle.open_jobs, middle.oldest_s) == (3, 60)


def test_unknown_code_is_a_matter_of_the_installation() -> None:
    assert cause_of("from_a_newer_worker") is Cause.SYSTEM


async def test_what_waits_for_an_operator_is_counted_without_their_own_case(desk: Desk) -> None:
    me, she = desk.operator(OperatorRole.OPERATOR), desk.person("linh@example.org")
    desk.case(me.id)
    desk.case(she)
    desk.conn.execute(
        "update automatch.cases set state = 'unproven', unproven_until = now() where id = %s",
        [desk.case(she)],
    )
    desk.held(she)
    desk.asking(desk.person("minh@example.org"))
    desk.mail(she)

    assert await count_waiting(desk.db, me) == Waiting(
        open_cases=1,
        unproven_cases=1,
        held_photos=1,
        membership_requests=1,
        mails=1,
        failed_mails=0,
    )
