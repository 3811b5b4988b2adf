"""The embedded Postgres: started with the application, restarted after a crash, stopped last.

The lock file is taken before anything else, so any other process of this cluster is an orphan of a
killed run. The server is a child in its own session: Ctrl-C in a terminal does not reach it, and
the kernel stops it when this process is killed.
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
from automatch.postgres.lockfile import LockFile
from automatch.postgres.orphan_processes import end_orphans
from automatch.postgres.postmaster import end, prune_logs, server_settings, spawn
from automatch.sql.statements import load

if TYPE_CHECKING:
    from pathlib import Path

    from automatch.postgres.cluster import Cluster
    from automatch.settings import Settings
    from automatch.settings.secrets import Secrets

_SQL = load("embedded")

log = structlog.get_logger(__name__)

# Long enough for crash recovery of a server that was killed under full load.
_READY_S = 120
_BACKOFF_S = 0.1
_BACKOFF_MAX_S = 30
_PRUNE_S = 3600


class EmbeddedPostgres:
    """One server on one data folder.

    Call `start()`, run `supervise()` as a task beside the application, and call `stop()` after all
    users of the database have stopped. Call `start()` and `supervise()` from the main thread: the
    server ends when the thread that started it ends. Once *forced* is set, stopping takes seconds.
    """

    def __init__(
        self, settings: Settings, secrets: Secrets, forced: asyncio.Event | None = None
    ) -> None:
        self._settings = settings.model_copy(update={"database_url": None})
        self._secrets = secrets
        self._forced = forced
        self._lock = LockFile(settings.home)
        self._cluster: Cluster | None = None
        self._process: asyncio.subprocess.Process | None = None
        self._launch_lock = asyncio.Lock()
        self._stopping = False

    @property
    def folder(self) -> Path:
        """The real path of the database, in the data folder or in `/var/lib/automatch` for root."""
        return self._prepared.folder

    @property
    def pid(self) -> int:
        """The process id of the running server; it changes after a crash."""
        if self._process is None:
            raise EmbeddedPostgresError("The embedded Postgres is not running.")
        return self._process.pid

    async def start(self) -> None:
        """Create the cluster on first start, serve it, and return when it accepts connections.

        Raises:
            InstanceRunningError: another Auto-Match runs on this data folder.
            EmbeddedPostgresError: Postgres does not start; the message has the reason and a remedy.
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
        """Restart the server whenever it ends unexpectedly; return after `stop()`."""
        while self._process is not None and not self._stopping:
            try:
                async with asyncio.timeout(_PRUNE_S):
                    status = await self._process.wait()
            except TimeoutError:
                await asyncio.to_thread(prune_logs, self._prepared)
                continue
            if not self._stopping:
                log.error("postgres ended unexpectedly; restarting it", status=status)
                await self._restart()

    async def stop(self) -> None:
        """Stop the server and release the data folder; does nothing if it does not run."""
        self._stopping = True
        async with self._launch_lock:
            if self._process is not None:
                await end(self._process, self._forced)
                self._process = None
        self._lock.release()

    async def __aenter__(self) -> EmbeddedPostgres:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    @property
    def _prepared(self) -> Cluster:
        if self._cluster is None:
            raise EmbeddedPostgresError("The embedded Postgres was not started.")
        return self._cluster

    async def _restart(self) -> None:
        began = time.monotonic()
        delay_s = _BACKOFF_S
        while not self._stopping:
            try:
                await self._launch()
            except EmbeddedPostgresError as exc:
                if delay_s == _BACKOFF_S:
                    log.warning("postgres does not start; retrying", reason=exc.message)
                await asyncio.sleep(delay_s)
                delay_s = min(2 * delay_s, _BACKOFF_MAX_S)
            else:
                log.info("postgres restarted", seconds=round(time.monotonic() - began, 2))
                return

    async def _launch(self) -> None:
        async with self._launch_lock:
            if self._stopping:
                return
            await asyncio.to_thread(end_orphans, self._prepared)
            await asyncio.to_thread(prune_logs, self._prepared)
            with tempfile.TemporaryFile() as errors:
                settings = server_settings(self._prepared, self._settings.postgres)
                process = await spawn(self._prepared, settings, errors)
                self._process = process
                try:
                    await self._wait_ready(process, errors)
                except BaseException:
                    await end(process, self._forced)
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
                        f"{self._prepared.log_folder})"
                    ) from exc
                if time.monotonic() > deadline:
                    raise EmbeddedPostgresError(
                        f"Postgres was not ready after {_READY_S} s; "
                        f"see {self._prepared.log_folder}."
                    ) from exc
                # An exit of the server ends the wait early; readiness is found by polling.
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(0.02):
                        await process.wait()
            else:
                return

    async def _check_durability(self) -> None:
        # Computed each time, because the first start decides the path of the socket folder.
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
