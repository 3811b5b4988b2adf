"""The second signal: the real commands stop at once and release their jobs."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import UUID

import httpx2
import psycopg

from tests.support.build import a_face, a_job, a_profile, connect, one
from tests.support.command import call_command, environment, running_up
from tests.support.forks import ForkedProcess
from tests.support.patience import PATIENT
from tests.support.photo_store import mark_folder
from tests.support.photos import astronaut, encode
from tests.support.postgres import Database, TestCluster
from tests.support.system import PASSWORD
from tests.support.waiting import wait_until

_TIMEOUT_S = 100
# Without the second signal they would wait longer than the timeout of a test.
_LONG_TIMEOUTS = {"WORKER__SHUTDOWN_TIMEOUT_S": "300", "POOL__TRANSACTION_TIMEOUT_S": "300"}
_STOPPING = "a second signal stops at once"


@contextmanager
def _blocked(dsn: str, person: UUID) -> Iterator[psycopg.Connection]:
    """Lock a person's row, so that the worker of a job of theirs waits."""
    holder, watcher = connect(dsn), connect(dsn, autocommit=True)
    try:
        holder.execute("select from public.profiles where id = %s for update", [person])
        yield watcher
    finally:
        # No context manager: it would fail if the server has stopped meanwhile.
        holder.close()
        watcher.close()


def _wait_until_claimed(watcher: psycopg.Connection) -> None:
    # Not every statement of a worker that waits for the person is one of the job.
    waits = (
        "select exists (select from public.match_jobs where status = 'processing')"
        " and exists (select from pg_stat_activity where usename = 'automatch_worker'"
        " and datname = current_database() and cardinality(pg_blocking_pids(pid)) > 0)"
    )
    wait_until(lambda: one(watcher, waits), "a worker claims the job")


def _is_released(watcher: psycopg.Connection) -> bool:
    row = watcher.execute("select status, attempts from public.match_jobs").fetchone()
    return row == ("pending", 0)


def _store_photo(home: Path, image_path: str) -> None:
    file = home / "photos/uploads" / f"{image_path}.upload"
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    file.write_bytes(encode(astronaut()))


def test_second_signal_makes_a_worker_release_its_jobs(
    cluster: TestCluster, database: Database
) -> None:
    home = cluster.settings.home
    with connect(database.owner) as conn:
        person = a_profile(conn)
        face = a_face(conn, person)
        a_job(conn, face)
        mark_folder(database.owner, home / "photos")
        _store_photo(home, one(conn, "select image_path from public.faces where id = %s", face))
    with _blocked(database.owner, person) as watcher:
        worker = ForkedProcess(
            [sys.executable, "-m", "automatch", "worker"],
            env=environment(home)
            | {f"AUTOMATCH_{name}": value for name, value in _LONG_TIMEOUTS.items()}
            | {"AUTOMATCH_DATABASE_URL": database.owner},
            stderr=subprocess.PIPE,
            text=True,
        )
        try:
            _wait_until_claimed(watcher)
            worker.send_signal(signal.SIGTERM)
            assert worker.stderr is not None
            printed = []
            for line in worker.stderr:
                printed.append(line)
                if _STOPPING in line:
                    break
            held = not _is_released(watcher) and worker.poll() is None
            worker.send_signal(signal.SIGTERM)
            printed += worker.communicate(timeout=_TIMEOUT_S)[1].splitlines()
        finally:
            worker.kill()
            worker.wait()

        assert held, "one signal must let it finish"
        assert worker.returncode == 0, printed
        assert _is_released(watcher)
    assert any("jobs released" in line for line in printed)
    assert not any("Traceback" in line for line in printed)


def test_second_ctrl_c_stops_everything_and_releases_jobs(ready_home: Path) -> None:
    with running_up(ready_home, settings=_LONG_TIMEOUTS, module=PATIENT) as up:
        address = call_command(ready_home, "db", "url").stdout.strip()
        call_command(ready_home, "jobs", "pause")
        person = _upload(up.url)
        with _blocked(address, person) as watcher:
            call_command(ready_home, "jobs", "resume")
            _wait_until_claimed(watcher)
            up.process.send_signal(signal.SIGINT)
            up.wait_for(_STOPPING)

            up.process.send_signal(signal.SIGINT)

            up.wait_for(re.compile(r"jobs released.*count=1"))
            assert up.process.wait(_TIMEOUT_S) == 0
        up.wait_for("Stopped")
    printed = "".join(up.lines)
    assert "Traceback" not in printed
    assert "killing" not in printed


def _upload(url: str) -> UUID:
    with httpx2.Client(base_url=url, timeout=60) as client:
        account = {"email": "linh@example.org", "password": PASSWORD}
        session = client.post("/auth/v1/signup", json=account).json()
        headers = {"authorization": f"Bearer {session['access_token']}"}
        profile = {"name": "L", "school": "UIT", "gender": "female", "birth_date": "2000-02-29"}
        assert client.put("/api/profile", json=profile, headers=headers).status_code == 200
        version = client.get("/api/profile/consent", headers=headers).json()["version"]
        consent = {"version": version, "granted": True}
        client.put("/api/profile/consent", json=consent, headers=headers)
        file = {"file": ("photo.jpg", encode(astronaut()))}
        assert client.post("/api/faces", headers=headers, files=file).status_code == 202
    return UUID(session["user"]["id"])
