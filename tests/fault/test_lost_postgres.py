"""Postgres itself: killed and started again under load, and without space on its disk."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

import httpx2
import psutil
import psycopg
import pytest

from automatch.postgres.addresses import database_address
from automatch.settings import Settings
from automatch.settings.secrets import load_or_create
from tests.fault.conftest import Figures, Size
from tests.support import build, kept_pools
from tests.support.build import connect
from tests.support.command import Running, running_up
from tests.support.homes import StoredHome
from tests.support.invariants import check_invariants, count_open, keep_journal
from tests.support.photos import portrait
from tests.support.population import add_people, enqueue_faces
from tests.support.postgres import Database, remove_home
from tests.support.system import Person, System
from tests.support.waiting import wait_until

pytestmark = pytest.mark.anyio

ENDS = (signal.SIGKILL, signal.SIGQUIT, signal.SIGINT)
"""Killed; an immediate and a fast shutdown that nobody of ours asked for."""
FULL_MB = 160
FAST = {
    "LIMITS__ENABLED": "false",
    "RETENTION__MIN_FREE_MB": "0",
    "WORKER__BATCH": "10",
    "WORKER__OUTAGE_PAUSE_MAX_S": "1",
}


@dataclass(frozen=True)
class Machine:
    """A whole system with a Postgres of its own."""

    up: Running
    system: System

    def postmaster(self) -> psutil.Process | None:
        """Return the server's first process, while there is one."""
        return self._child(lambda child: child.name() == "postgres")

    def worker(self) -> int:
        """Return the process id of the worker."""
        found = self._child(lambda child: "worker" in child.cmdline())
        assert found is not None
        return found.pid

    def _child(self, is_it: Callable[[psutil.Process], bool]) -> psutil.Process | None:
        for child in psutil.Process(self.up.process.pid).children():
            # One that has just ended has no name any more.
            with contextlib.suppress(psutil.NoSuchProcess):
                if is_it(child):
                    return child
        return None

    def open_jobs(self) -> int:
        """Count the jobs that have not ended; while nobody answers, all are open."""
        try:
            with connect(self.system.database.owner) as conn:
                return count_open(conn)
        except psycopg.OperationalError:
            return 10**9

    def wait_until_open(self, most: int) -> None:
        wait_until(lambda: self.open_jobs() <= most, f"{most} jobs left", within_s=300)


@asynccontextmanager
async def machine(home: Path, **more: str) -> AsyncIterator[Machine]:
    """Run the whole system with a worker that works."""
    with running_up(home, settings=FAST | more) as up:
        settings = Settings(home=home, database_url=None)
        secrets = load_or_create(home)
        database = Database(
            owner=database_address(settings, secrets, "owner"),
            api=database_address(settings, secrets, "api"),
            worker=database_address(settings, secrets, "worker"),
            schedule=database_address(settings, secrets, "schedule"),
        )
        await asyncio.to_thread(up.wait_for_first, "worker started")
        try:
            async with httpx2.AsyncClient(base_url=up.url, timeout=60) as client:
                yield Machine(up, System(up.url, settings, secrets, database, client))
        finally:
            await kept_pools.close_all()


async def _accepted(person: Person, photo: bytes) -> UUID:
    """Upload until it is accepted, as the page does; return the job."""
    while True:
        try:
            answer = await person.upload(photo)
        except httpx2.TransportError:
            continue
        if answer.status_code in {200, 202}:
            return UUID(answer.json()["job"]["id"])
        assert answer.status_code == 503, answer.text
        await asyncio.sleep(0.1)


async def test_no_job_is_lost_while_postgres_is_killed_repeatedly(
    ready_home: Path, size: Size, figures: Figures
) -> None:
    lease = {name.upper(): str(value) for name, value in size.lease_of_process.items()}
    async with machine(ready_home, **lease) as it:
        genders = ("female", "male")
        people = [await it.system.join(genders[n % 2]) for n in range(2 * size.restarts)]
        with connect(it.system.database.owner) as owner:
            keep_journal(owner, job_s=0.02)
            jobs = enqueue_faces(owner, add_people(owner, size.jobs // 3, school="HCMUS"))
        worker = it.worker()

        for number in range(size.restarts):
            left = size.jobs // 3 * (size.restarts - number) // (size.restarts + 1)
            await asyncio.to_thread(it.wait_until_open, left)
            uploads = [
                asyncio.create_task(_accepted(people[n], portrait(n)))
                for n in (2 * number, 2 * number + 1)
            ]
            postmaster = it.postmaster()
            assert postmaster is not None
            postmaster.send_signal(ENDS[number % len(ENDS)])
            jobs += await asyncio.gather(*uploads)
        await asyncio.to_thread(it.wait_until_open, 0)

        assert it.worker() == worker, "the worker ended"
        with connect(it.system.database.owner) as owner:
            steps = check_invariants(owner, jobs)
        assert steps["completed"] == len(jobs) == size.jobs // 3 + 2 * size.restarts
        assert it.up.stop() == 0
    figures.note("Postgres is killed or shut down under load", size.restarts, steps)


@pytest.fixture
async def small_disk(migrated_home: StoredHome) -> AsyncIterator[Path]:
    """Give a data folder whose cluster is alone on a disk of its own."""
    above = Path(tempfile.mkdtemp(prefix="automatch-disk-"))
    home = migrated_home.copy_to(above / "home")
    folder = (home / "postgres").resolve()
    try:
        with _mounted(folder):
            yield home
    finally:
        remove_home(home)
        shutil.rmtree(above)


@contextmanager
def _mounted(folder: Path) -> Iterator[None]:
    status = folder.stat()
    kept = folder.rename(folder.with_name(f"{folder.name}.kept"))
    folder.mkdir()
    options = f"size={FULL_MB}m,mode=700,uid={status.st_uid},gid={status.st_gid}"
    try:
        done = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", options, "automatch-test", str(folder)],
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            pytest.skip(f"no disk to fill: {done.stderr.strip()}")
        try:
            # With its owners, which shutil does not keep.
            subprocess.run(["cp", "-a", f"{kept}/.", str(folder)], check=True)
            yield
        finally:
            subprocess.run(["umount", str(folder)], check=True)
    finally:
        shutil.rmtree(kept)


async def test_full_disk_refuses_uploads_and_costs_no_attempt(
    small_disk: Path, figures: Figures
) -> None:
    async with machine(small_disk) as it:
        with connect(it.system.database.owner) as owner:
            keep_journal(owner, job_s=0.02)
            person = await it.system.join()
            filler = (small_disk / "postgres").resolve() / "filler"
            jobs = enqueue_faces(owner, add_people(owner, 400))
            _fill(filler)
            jobs += _queue_until_full(owner)
            # What it holds now, it cannot settle.
            await asyncio.to_thread(it.up.wait_for, "worker pauses.*storage_full")

            for number in itertools.count():
                answer = await person.upload(portrait(number))
                if answer.status_code != 202:
                    break
                jobs.append(UUID(answer.json()["job"]["id"]))
            filler.unlink()
            jobs.append(await _accepted(person, portrait(number)))
            await asyncio.to_thread(it.wait_until_open, 0)

            assert (answer.status_code, answer.json()["error"]["code"]) == (503, "storage_full")
            assert "retry-after" in answer.headers
            steps = check_invariants(owner, jobs)
            tried = owner.execute("select distinct attempts from public.match_jobs").fetchall()
        assert steps["queued"] == len(jobs)
        assert tried == [(1,)]
        assert it.up.stop() == 0
    figures.note("the disk is full", 1, steps)


def _fill(file: Path) -> None:
    piece = 1024**2
    with file.open("wb", buffering=0) as out:
        while piece >= 4096:
            try:
                out.write(os.urandom(piece))
            except OSError:
                piece //= 2


def _queue_until_full(owner: psycopg.Connection) -> list[UUID]:
    """Use up what room there is left in the tables; return the jobs that still found some."""
    jobs: list[UUID] = []
    with contextlib.suppress(psycopg.errors.DiskFull):
        person = build.a_profile(owner, school="HCMUS")
        for number in range(5000):
            jobs += enqueue_faces(owner, [build.a_face(owner, person, build.unit(number))])
        pytest.fail("the disk does not get full")
    owner.rollback()
    return jobs
