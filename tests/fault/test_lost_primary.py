"""A streaming replica that is promoted under uploads: its primary died, or takes no more writes."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from uuid import UUID

import httpx2
import pytest
from pydantic import SecretStr

from automatch.postgres.addresses import database_address
from automatch.settings import Settings
from automatch.settings.limits import LimitSettings
from automatch.settings.secrets import load_or_create
from automatch.settings.server import FeedSettings
from automatch.settings.storage import RetentionSettings
from automatch.settings.worker import WorkerSettings
from automatch.store import notify
from automatch.supabase_compat import cron_runner
from automatch.supabase_compat.cron_runner import CronRunner
from automatch.vision import Embedder
from tests.fault.conftest import SIZES, Figures, Size
from tests.support.build import connect
from tests.support.invariants import check_invariants, count_open, keep_journal
from tests.support.photos import portrait
from tests.support.postgres import Database
from tests.support.replica import Server, replicated
from tests.support.system import Person, running_server, running_worker
from tests.support.waiting import until, wait_until

pytestmark = pytest.mark.anyio

_LASTING = {"automatch-feed-listen", "automatch-schedule", "automatch-worker-listen"}
"""Connections on which we wait; an idle one of a pool is given up when it is to be used."""
_NAMES = "select distinct application_name from pg_stat_activity"
_QUIET = (
    "select not exists (select from pg_stat_activity where state <> 'idle'"
    " and application_name in ('automatch-api', 'automatch-worker'))"
)
_PEOPLE = 6


async def _accepted(person: Person, photo: bytes, refused: list[httpx2.Response]) -> UUID:
    """Upload until it is accepted, as the page does; return the job."""
    while True:
        answer = await person.upload(photo)
        if answer.status_code in {200, 202}:
            return UUID(answer.json()["job"]["id"])
        refused.append(answer)
        await asyncio.sleep(0.1)


def _fail(primary: Server, how: str) -> None:
    if how == "killed":
        primary.process.kill()
    else:
        primary.run("alter system set default_transaction_read_only = on")
        primary.run("select pg_reload_conf()")
        # A commit that lost its standby would wait until its connection is closed, after 20 s.
        wait_until(lambda: primary.column(_QUIET) == [True], "no open transaction")


def _send(server: Server, url: str) -> list[int]:
    """Have the database send requests; return their ids once they are answered."""
    requests = server.column(f"select net.http_post('{url}/healthz') from generate_series(1, 5)")
    answered = f"select id from net._http_response where id = any ('{set(requests)}')"
    wait_until(lambda: set(server.column(answered)) == set(requests), "their answers")
    return [int(str(request)) for request in requests]


@pytest.mark.parametrize("how", ["demoted", "killed"])
async def test_work_goes_on_at_the_replica_and_nothing_is_lost_or_doubled(
    ready_home: Path,
    embedder: Embedder,
    size: Size,
    figures: Figures,
    monkeypatch: pytest.MonkeyPatch,
    how: str,
) -> None:
    if size == SIZES["short"]:
        if how == "killed":
            pytest.skip("`make test-faults` kills the primary; nothing of ours is left to notice")
        monkeypatch.setattr(notify, "_PROBE_S", 0.2)
        monkeypatch.setattr(cron_runner, "_PROBE_S", 0.2)
        monkeypatch.setattr(cron_runner, "_TRY_S", 0.2)
    async with replicated(ready_home) as pair:
        settings = Settings(
            home=ready_home,
            database_url=SecretStr(pair.address),
            worker=WorkerSettings(poll_s=1, outage_pause_max_s=1),
            feed=FeedSettings(poll_s=600),
            retention=RetentionSettings(min_free_mb=0),
            limits=LimitSettings(enabled=False),
        )
        secrets = load_or_create(ready_home)
        database = Database(
            *(
                database_address(settings, secrets, role)
                for role in ("owner", "api", "worker", "schedule")
            )
        )
        with connect(pair.primary.address) as owner:
            keep_journal(owner)
        async with (
            running_server(settings, secrets, database) as system,
            running_worker(settings, secrets, embedder),
        ):
            scheduling = asyncio.create_task(
                CronRunner(database.owner, local_url=system.url, public_url=None).run()
            )
            try:
                people = [await system.join(("female", "male")[n % 2]) for n in range(_PEOPLE)]
                refused: list[httpx2.Response] = []

                def upload(first: int, last: int) -> list[asyncio.Task[UUID]]:
                    return [
                        asyncio.create_task(_accepted(people[n], portrait(n), refused))
                        for n in range(first, last)
                    ]

                jobs = await asyncio.gather(*upload(0, 2))
                requests = await asyncio.to_thread(_send, pair.primary, system.url)

                uploads = upload(2, 4)
                await asyncio.to_thread(_fail, pair.primary, how)
                uploads += upload(4, _PEOPLE)
                await until(lambda: refused)
                began = time.monotonic()
                await asyncio.to_thread(pair.standby.run, "select pg_promote()")
                promoted_s = time.monotonic() - began
                jobs += await asyncio.gather(*uploads)
                accepted_s = time.monotonic() - began
                with connect(pair.standby.address) as owner:
                    await asyncio.to_thread(
                        wait_until, lambda: not count_open(owner), "no open job"
                    )
                    completed_s = time.monotonic() - began
                    steps = check_invariants(owner, jobs)
                assert steps["completed"] == len(jobs)
                assert {answer.status_code for answer in refused} == {503}

                # What waits for notifications waits there too, and no request has an old id.
                await asyncio.to_thread(
                    wait_until,
                    lambda: set(pair.standby.column(_NAMES)) >= _LASTING,
                    "everything that waits at the replica",
                )
                if how == "demoted":
                    # It ends their old sessions when it notices that they were left.
                    await asyncio.to_thread(
                        wait_until,
                        lambda: not _LASTING & set(pair.primary.column(_NAMES)),
                        "nothing that waits at the old primary",
                    )
                later = await asyncio.to_thread(_send, pair.standby, system.url)
                assert min(later) > max(requests)
            finally:
                scheduling.cancel()
                await asyncio.gather(scheduling, return_exceptions=True)
    figures.note(f"the primary is {how} and its replica promoted", 1, steps)
    figures.note_outage(
        how, {"promoted": promoted_s, "accepted": accepted_s, "completed": completed_s}
    )
