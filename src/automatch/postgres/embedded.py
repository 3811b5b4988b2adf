"""The embedded Postgres: started with the application, restarted after a crash, stopped last.

Order matters. The instance lock is taken before anything is touched, so that "what an earlier run
left over" can only be a run that is dead. The server is a child in a session of its own: Ctrl-C in
a terminal does not reach it, and the kernel stops it when we are killed.
"""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
import time
from typing import IO, TYPE_CHECKING

import psycopg
import structlog

from automatch.errors.store import EmbeddedPostgresError
from automatch.postgres.addresses import database_address
from automatch.postgres.cluster import prepare_cluster
from automatch.postgres.lockfile import InstanceLock
from automatch.postgres.orphan_processes import end_leftovers
from automatch.postgres.postmaster import end, prune_logs, server_settings, spawn
from automatch.sql.statements import load

if TYPE_CHECKING:
    from pathlib import Path

    from automatch.postgres.cluster import Cluster
    from automatch.settings import Settings
    from automatch.settings.secrets import Secrets

_SQL = load("embedded")

log = structlog.get_logger(__name__)

# Long enough to replay the log of a server that was killed at its busiest.
_READY_S = 120
_BACKOFF_S = 0.1
_BACKOFF_MAX_S = 30
_PRUNE_S = 3600


class EmbeddedPostgres:
    """One server on one data folder.

    `start()`, then `supervise()` as a task beside the application, and `stop()` at the end, after
    everything that uses the database. Call `start()` and `supervise()` from a thread that lives as
    long as the process (the main one): the server ends when the thread that started it ends.
    """

    def __init__(self, settings: Settings, secrets: Secrets) -> None:
        self._settings = settings.model_copy(update={"database_url": None})
        self._secrets = secrets
        self._lock = InstanceLock(settings.home)
        self._cluster: Cluster | None = None
        self._process: asyncio.subprocess.Process | None = None
        self._turn = asyncio.Lock()
        self._stopping = False

    @property
    def folder(self) -> Path:
        """Where the database really lies: `home/postgres`, or `/var/lib/automatch/…` for root."""
        return self._served.folder

    @property
    def pid(self) -> int:
        """The process id of the running server; another one after a crash."""
        if self._process is None:
            raise EmbeddedPostgresError("The embedded Postgres is not running.")
        return self._process.pid

    async def start(self) -> None:
        """Make the cluster on the first start, serve it, and return when it takes connections.

        Raises:
            InstanceRunningError: another Auto-Match runs on this data folder.
            EmbeddedPostgresError: with the reason and what to do.
        """
        began = time.monotonic()
        self._lock.acquire()
        try:
            self._stopping = False
            self._cluster = await asyncio.to_thread(
                prepare_cluster,
                self._settings.home,
                self._settings.postgres.system_user,
                self._secrets.owner_password,
            )
            await self._launch()
        except BaseException:
            await self.stop()
            raise
        log.info(
            "postgres is ready", folder=str(self.folder), seconds=round(time.monotonic() - began, 2)
        )

    async def supervise(self) -> None:
        """Start the server again whenever it ends by itself; return after `stop()`."""
        while self._process is not None and not self._stopping:
            try:
                async with asyncio.timeout(_PRUNE_S):
                    status = await self._process.wait()
            except TimeoutError:
                await asyncio.to_thread(prune_logs, self._served)
                continue
            if not self._stopping:
                log.error("postgres ended by itself; starting it again", status=status)
                await self._revive()

    async def stop(self) -> None:
        """Stop the server and give the data folder free; harmless when it does not run."""
        self._stopping = True
        async with self._turn:
            if self._process is not None:
                await end(self._process)
                self._process = None
        self._lock.release()

    async def __aenter__(self) -> EmbeddedPostgres:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    @property
    def _served(self) -> Cluster:
        if self._cluster is None:
            raise EmbeddedPostgresError("The embedded Postgres was not started.")
        return self._cluster

    async def _revive(self) -> None:
        began = time.monotonic()
        delay_s = _BACKOFF_S
        while not self._stopping:
            try:
                await self._launch()
            except EmbeddedPostgresError as exc:
                if delay_s == _BACKOFF_S:
                    log.warning("postgres does not start; trying on", reason=exc.message)
                await asyncio.sleep(delay_s)
                delay_s = min(2 * delay_s, _BACKOFF_MAX_S)
            else:
                log.info("postgres is back", seconds=round(time.monotonic() - began, 2))
                return

    async def _launch(self) -> None:
        async with self._turn:
            if self._stopping:
                return
            await asyncio.to_thread(end_leftovers, self._served)
            await asyncio.to_thread(prune_logs, self._served)
            with tempfile.TemporaryFile() as errors:
                settings = server_settings(self._served, self._settings.postgres)
                process = await spawn(self._served, settings, errors)
                self._process = process
                try:
                    await self._wait_ready(process, errors)
                except BaseException:
                    await end(process)
                    raise

    async def _wait_ready(self, process: asyncio.subprocess.Process, errors: IO[bytes]) -> None:
        deadline = time.monotonic() + _READY_S
        while not self._stopping:
            try:
                await self._check_durability()
            except psycopg.OperationalError as exc:
                if "password authentication failed" in str(exc):
                    raise EmbeddedPostgresError(
                        f"The database in {self.folder} was made with other secrets; restore the "
                        f"secrets.json that belongs to it in {self._settings.home}."
                    ) from exc
                if process.returncode is not None:
                    raise EmbeddedPostgresError(
                        f"Postgres did not start: {_tail(errors)} (more in "
                        f"{self._served.log_folder})"
                    ) from exc
                if time.monotonic() > deadline:
                    raise EmbeddedPostgresError(
                        f"Postgres was not ready after {_READY_S} s; see {self._served.log_folder}."
                    ) from exc
                # Its exit ends the wait early; readiness itself can only be found by asking.
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(0.02):
                        await process.wait()
            else:
                return

    async def _check_durability(self) -> None:
        # Made anew each time: the socket folder's path is settled by the first start.
        address = database_address(self._settings, self._secrets, "owner")
        async with await psycopg.AsyncConnection.connect(
            address, connect_timeout=5, application_name="automatch start"
        ) as connection:
            weak = await (await connection.execute(_SQL["durability"])).fetchall()
        if weak:
            names = ", ".join(row[0] for row in weak)
            raise EmbeddedPostgresError(
                f"The database in {self.folder} would lose data in a crash: {names} is not on; "
                "undo `alter database` or `alter role` that turned it off."
            )


def _tail(errors: IO[bytes]) -> str:
    errors.seek(0)
    return errors.read()[-2000:].decode(errors="replace").strip() or "no reason given"
