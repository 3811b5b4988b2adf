"""Composition root of the worker: builds it from settings, and imports nothing that serves."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING

from threadpoolctl import threadpool_limits

from automatch.errors.configuration import SettingsError
from automatch.model.people import Role
from automatch.ops.backup.erasures import ErasureCopy
from automatch.ops.backup.place import open_place
from automatch.photos.make import make_photos
from automatch.postgres.addresses import database_address, pooled_address
from automatch.search.batch import BatchSearch
from automatch.settings import Settings
from automatch.settings.connections import worker_pool
from automatch.settings.secrets import Secrets
from automatch.store.database import Database
from automatch.store.installation.schema_version import check_schema
from automatch.store.matching.model_changes import read_active_model
from automatch.store.photos.photo_store import check_photo_store
from automatch.store.protection.erasure_log import ErasureLog
from automatch.telemetry.traces import Traces
from automatch.vision import Embedder, FaceAnalyzer, LocalAnalyzer
from automatch.vision.load import open_embedder
from automatch.worker.maintenance import MaintenanceRunner
from automatch.worker.observer import JobObserver
from automatch.worker.run import WorkerContext
from automatch.worker.scheduled_backup import ScheduledBackup
from automatch.worker.worker import Worker

if TYPE_CHECKING:
    from uuid import UUID

    from automatch.vision import RemoteAnalyzer

_AI_KEY_LIFE_S = 300
"""A key that is made for one request need not live much longer."""


def make_analyzer(settings: Settings, embedder: Embedder | None = None) -> LocalAnalyzer:
    """Return this machine's face analyzer; it runs the model of the AI service by default."""
    return LocalAnalyzer(settings, embedder or open_embedder(settings.ai.model, settings.home))


def ai_key(settings: Settings) -> str | None:
    """Return the key of the AI service, where one is set."""
    return settings.ai_key.get_secret_value() if settings.ai_key else None


def make_traces(settings: Settings, service: str) -> Traces | None:
    """Return what takes the traces of this process, or None where they are not wanted.

    Raises:
        SettingsError: they are to be sent, and the libraries for that are not installed.
    """
    if settings.traces.otlp_url is None:
        return None
    try:
        from automatch.telemetry.otel import open_otlp
    except ImportError as exc:
        raise SettingsError(
            "AUTOMATCH_TRACES__OTLP_URL needs more libraries: pip install 'automatch[otel]'."
        ) from exc
    return open_otlp(service, settings.traces.otlp_url, settings.traces.share)


@asynccontextmanager
async def open_worker(
    settings: Settings, secrets: Secrets, embedder: Embedder | None = None
) -> AsyncIterator[Worker]:
    """Yield a worker that is connected, with its model loaded, here or in an AI service.

    Raises:
        DatabaseOlderError, DatabaseNewerError: see `automatch.store.installation.schema_version`.
        WrongPhotoStoreError: the photos of the database are elsewhere.
    """
    photos = make_photos(settings)
    async with AsyncExitStack() as stack:
        db = await stack.enter_async_context(
            Database(
                pooled_address(settings, secrets, "worker"),
                worker_pool(settings),
                name="automatch-worker",
                for_worker=True,
                direct=database_address(settings, secrets, "worker"),
            )
        )
        async with db.connection() as conn:
            await check_schema(conn)
            await check_photo_store(conn, photos, may_claim=False)
        analyzer: FaceAnalyzer
        if settings.ai_url:
            model = await _read_active_model(db)
            analyzer = await stack.enter_async_context(_remote_analyzer(settings, secrets, model))
        else:
            if embedder is None:
                embedder = open_embedder(await _read_active_model(db), settings.home)
            analyzer = await stack.enter_async_context(make_analyzer(settings, embedder))

        async def erase_inactive(person_id: UUID) -> None:
            # Only then a worker needs keys.
            from automatch.services.protection.erasures import make_erasures

            await make_erasures(settings, db, photos).erase(person_id, "retention")

        maintenance = MaintenanceRunner(
            db,
            photos,
            settings.worker,
            settings.retention,
            session_s=settings.auth.refresh_token_s,
            erasure_log=ErasureLog(settings.erasure_log),
            erasure_copy=ErasureCopy(settings.erasure_log, open_place(to, settings.backup))
            if (to := settings.backup.to)
            else None,
            backup=ScheduledBackup(settings) if to else None,
            erase_inactive=erase_inactive,
            mails=settings.mails_people,
        )
        traces = make_traces(settings, "automatch-worker")
        if traces is not None:
            stack.push_async_callback(asyncio.to_thread, traces.close)
        observer = JobObserver(traces=traces)
        search = BatchSearch(
            db,
            max_bytes=settings.worker.search_cache_mb * 1024**2,
            on_search=observer.searched,
        )
        # More threads of BLAS would compete with Postgres and the analyzer for the same cores.
        stack.enter_context(threadpool_limits(1, user_api="blas"))
        slots = settings.ai.connections if settings.ai_url else settings.vision.threads
        inference_slots = asyncio.Semaphore(slots)
        context = WorkerContext(
            db,
            photos,
            analyzer,
            settings.worker,
            search,
            inference_slots,
            # One is left to photos that are quick to decode.
            asyncio.Semaphore(max(1, slots - 1)),
            backfill_concurrency=0 if settings.ai_url else settings.vision.threads,
            observer=observer,
        )
        yield Worker(context, maintenance)


async def _read_active_model(db: Database) -> str:
    async with db.connection() as conn:
        return await read_active_model(conn)


def _remote_analyzer(settings: Settings, secrets: Secrets, model: str) -> RemoteAnalyzer:
    # Most workers analyze photos themselves, and need neither HTTP nor keys.
    from automatch.auth.tokens import tokens_from
    from automatch.vision import RemoteAnalyzer

    tokens = tokens_from(settings, secrets)
    key = ai_key(settings)
    return RemoteAnalyzer(
        settings,
        model_id=model,
        key=lambda: key or tokens.issue_key(Role.SERVICE, life_s=_AI_KEY_LIFE_S),
    )
