"""Each task, thread and child of a running process is ended once, and none is missed.

The lists are made from the running process, so a new part is in them. What ends is started again,
or ends its process, which its supervisor starts again.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import re
import shutil
import signal
import sys
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import httpx2
import psutil
import psycopg
import pytest
from structlog.testing import capture_logs

from automatch.background import BackgroundTasks, cancel_all
from automatch.cli.commands.installation import serve, up, worker
from automatch.cli.runtime.signals import SIGNALS
from automatch.postgres.addresses import database_address
from automatch.settings import Settings, load_settings
from automatch.settings.secrets import load_or_create
from automatch.settings.server_address import find_server_url
from automatch.settings.worker import WorkerSettings
from automatch.store.queue import stats
from automatch.supabase_compat import cron_runner
from automatch.worker.worker import Worker
from tests.support.command import environment
from tests.support.postgres import Database, TestCluster
from tests.support.waiting import until
from tests.support.worker import open_fake_worker

pytestmark = pytest.mark.anyio

NOT_KILLED = {
    r"main": "the process itself",
    r"pool-\d+-(worker-\d+|scheduler)": "psycopg_pool's: nobody cancels them, and they catch all",
}
THREADS = {
    r"MainThread|Thread-\d+.*|pytest.*": "of the process itself, or of the tests",
    r"asyncio_\d+|passwords_\d+|analyzer_\d+": "of an executor, which catches what a call raises",
    r"asyncio-waitpid-\d+": "waits for a child, in one call of the operating system",
    r"heartbeat_\d+": "killed below",
}


HELPERS = ("asyncio", "psycopg_pool")
"""Folders of unnamed tasks that help one wait of another task, and are gone with it."""


def key(task: asyncio.Task[Any]) -> str:
    """Return the name of a task, or of its function where it has none."""
    is_named = not re.fullmatch(r"Task-\d+", task.get_name())
    return task.get_name() if is_named else f"({task.get_coro().__qualname__})"


def matches_one(name: str, patterns: dict[str, str]) -> bool:
    return any(re.fullmatch(pattern, name) for pattern in patterns)


def is_helper(task: asyncio.Task[Any]) -> bool:
    return Path(task.get_coro().cr_code.co_filename).parent.name in HELPERS


class Running:
    """A command's process, here: its main task, and the tasks that it has started."""

    def __init__(self, main: asyncio.Task[None], others: set[asyncio.Task[Any]]) -> None:
        self.main = main
        self._others = others

    def tasks(self) -> dict[str, asyncio.Task[Any]]:
        found = {key(task): task for task in asyncio.all_tasks() - self._others if not task.done()}
        return {
            name: task
            for name, task in found.items()
            if not (matches_one(name, NOT_KILLED) or (name[0] == "(" and is_helper(task)))
        }

    def named(self) -> set[str]:
        return {name for name in self.tasks() if not name.startswith("(")}

    async def has(self, parts: set[str]) -> None:
        """Wait until all of these tasks run, or the process has ended."""
        await until(lambda: self.main.done() or parts <= self.named())


@asynccontextmanager
async def running(run: Callable[[], Coroutine[Any, Any, None]]) -> AsyncIterator[Running]:
    """Run a command until it ends, or stop it as a service manager does."""
    others = asyncio.all_tasks()
    main = asyncio.create_task(run(), name="main")
    try:
        yield Running(main, others)
    finally:
        if not main.done():
            os.kill(os.getpid(), signal.SIGTERM)
        await asyncio.wait({main})
        # As `asyncio.run` does. Where a web server was cancelled, Python would collect what it has
        # begun in the middle, and whoever closes that then finds it running.
        await cancel_all(asyncio.all_tasks() - others)
        for number in SIGNALS:
            asyncio.get_running_loop().remove_signal_handler(number)


@pytest.fixture(autouse=True)
def outlive_stops(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the process of the tests outlive the commands that it runs, whose stops end it."""
    monkeypatch.setattr("automatch.cli.runtime.signals._exit", lambda _: None)


@pytest.fixture
def background(monkeypatch: pytest.MonkeyPatch) -> BackgroundTasks:
    """Give what the commands of this test run beside requests, started again at once."""
    tasks = BackgroundTasks(backoff_s=0.01, stable_s=0.1)
    monkeypatch.setattr("automatch.background.BackgroundTasks", lambda: tasks)
    monkeypatch.setattr(cron_runner, "_TRY_S", 0.1)
    return tasks


async def serving(process: Running, settings: Settings, background: BackgroundTasks) -> set[str]:
    """Return the names of a server's tasks once all of them run."""
    parts = {"web server", "shutdown", "schedule", "cron_jobs", "http_queue", "feed_listener"}
    await process.has(parts)
    assert not process.main.done()
    await until(lambda: not background.failing)
    return process.named()


async def test_task_of_a_server_that_is_ended_is_started_again_or_ends_the_process(
    settings: Settings,
    cluster: TestCluster,
    database: Database,
    background: BackgroundTasks,
) -> None:
    # With keys of an issuer, which does not answer.
    settings = settings.model_copy(update={"port": 0, "supabase_url": "http://127.0.0.1:9"})
    settings.home.mkdir(mode=0o700)
    shutil.copy2(cluster.settings.home / "secrets.json", settings.home)
    run = partial(serve._serve, settings, None, 1, None)
    left: set[str] | None = None
    ended: set[str] = set()
    while left is None or left:
        with capture_logs() as logs:
            async with running(run) as process:
                names = await serving(process, settings, background)
                if left is None:
                    left = set(process.tasks())
                    assert {"issuer keys", "ended_sessions", "(LifespanOn.main)"} < left
                while left and not process.main.done():
                    victim = process.tasks().get(name := left.pop())
                    if victim is None:
                        continue
                    said = len(logs)
                    victim.cancel()
                    await asyncio.wait({victim, process.main}, return_when="FIRST_COMPLETED")
                    if name in names:
                        await until(lambda: process.main.done() or background.failing)
                    await process.has(names)
                    await until(lambda: process.main.done() or not background.failing)
                    if name in names and not process.main.done():
                        assert [e for e in logs[said:] if e["log_level"] == "error"], name
            if process.main.cancelled() or process.main.exception() is not None:
                ended.add(name)
    assert ended == {"web server", "shutdown", "(LifespanOn.main)"}


async def test_child_of_a_server_that_is_killed_and_its_supervisor_are_started_again(
    ready_home: Path, background: BackgroundTasks, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in set(os.environ) - set(environment(ready_home)):
        monkeypatch.delenv(name)
    settings = load_settings(home=ready_home, port=0)
    others = set(psutil.Process().children())

    def children() -> dict[str, psutil.Process]:
        found = set(psutil.Process().children()) - others
        return {child.name(): child for child in found if child.status() != "zombie"}

    async def is_ready() -> bool:
        try:
            return (await client.get(f"{find_server_url(settings)}/readyz")).status_code == 200
        except httpx2.HTTPError:
            return False

    async def count_workers() -> int:
        address = database_address(settings, load_or_create(ready_home), "owner")
        async with await psycopg.AsyncConnection.connect(address) as conn:
            return await stats.count_workers(conn)

    with capture_logs() as logs:
        async with (
            running(partial(up._up, settings, 1)) as process,
            httpx2.AsyncClient(timeout=60, verify=False) as client,
        ):
            names = await serving(process, settings, background)
            assert {"postgres", "worker", "erased data"} < names
            await until(count_workers)
            victims = children()
            assert len(victims) == 2
            for name, child in victims.items():
                said = len(logs)
                child.kill()
                if "postgres" not in name:
                    await until(lambda: is_zero(count_workers))
                await until(lambda name=name, child=child: children().get(name, child) != child)
                await until(is_ready)
                await until(count_workers)
                assert [entry for entry in logs[said:] if entry["log_level"] == "error"], name

            before = children()
            for name in names - {"web server", "shutdown"}:
                # One that was ended with Postgres may not run again yet.
                await process.has({name})
                process.tasks()[name].cancel()
                await until(lambda: background.failing)
                await process.has(names)
                await until(lambda: not background.failing)
            assert await is_ready()
            assert children() == before
        assert process.main.exception() is None


async def is_zero(count: Callable[[], Awaitable[int]]) -> bool:
    return await count() == 0


async def test_task_or_thread_of_a_worker_that_is_ended_ends_the_process(
    settings: Settings,
    cluster: TestCluster,
    database: Database,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    settings = settings.model_copy(update={"worker": WorkerSettings(health_port=0)})
    settings.home.mkdir(mode=0o700)
    shutil.copy2(cluster.settings.home / "secrets.json", settings.home)

    def open_worker(*_: object) -> AbstractAsyncContextManager[Worker]:
        return open_fake_worker(database, backfill_concurrency=1, heartbeat_s=0.2)

    monkeypatch.setattr("automatch.worker_app.open_worker", open_worker)
    run = partial(worker._work, settings, stop_with_stdin=False, signs_fd=None)
    parts = {"worker", "shutdown", "health", "heartbeat", "maintenance", "clean_up_jobs"}
    left: list[str] | None = None
    while left is None or left:
        with capture_logs():
            async with running(run) as process:
                await process.has(parts)
                assert not process.main.done(), process.main.exception()
                if left is None:
                    left = ["heartbeat thread", *process.tasks()]
                    parts = process.named()
                    assert {"batch runner 1", "embedding backfill", "lead_maintenance"} < set(left)
                while left and not process.main.done():
                    name = left.pop()
                    if name == "heartbeat thread":
                        await end_thread("heartbeat_0")
                    elif (victim := process.tasks().get(name)) is not None:
                        victim.cancel()
                        await asyncio.wait({victim})
                    if name.startswith("("):
                        # It helps a part, which goes on without it or ends.
                        await process.has(parts)
                    else:
                        await asyncio.wait({process.main})
        if not process.main.cancelled() and process.main.exception() is None:
            assert name.startswith("("), f"{name} ended and the worker did not"
    threads = [thread.name for thread in threading.enumerate()]
    assert [name for name in threads if not matches_one(name, THREADS)] == []


async def end_thread(name: str) -> None:
    """Raise an error in a thread once its event loop waits."""

    class EndedError(Exception):
        pass

    def waits() -> int | None:
        for thread in threading.enumerate():
            frame = sys._current_frames().get(thread.ident or 0)
            while thread.name == name and frame is not None:
                if frame.f_code.co_name == "select":
                    return thread.ident
                frame = frame.f_back
        return None

    await until(waits)
    ident = ctypes.c_ulong(waits() or 0)
    assert ctypes.pythonapi.PyThreadState_SetAsyncExc(ident, ctypes.py_object(EndedError)) == 1
