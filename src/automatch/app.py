"""Composition root: from settings to a server and a worker. Nothing else wires parts."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import structlog
from fastapi import FastAPI
from threadpoolctl import threadpool_limits

from automatch import __version__
from automatch.api import (
    admin,
    admin_duplicates,
    auth,
    faces,
    functions,
    health,
    jobs,
    matches,
    profile,
    realtime,
)
from automatch.api.accounts import Accounts
from automatch.api.admission import make_admission
from automatch.api.errors import add_error_handlers
from automatch.api.function_keys import FunctionKeys
from automatch.api.gate import Gate
from automatch.api.photo_links import PhotoLinks
from automatch.api.services import Services
from automatch.api.tokens import Tokens
from automatch.feed.hub import FeedHub
from automatch.matcher.batch import BatchSearch
from automatch.realtime.channel import Parts as RealtimeParts
from automatch.realtime.limits import Seats
from automatch.settings import Settings
from automatch.store.addresses import database_address
from automatch.store.database import Database
from automatch.store.photos import FolderPhotos, PhotoStore
from automatch.store.secrets import Secrets
from automatch.vision import DlibEmbedder, Embedder, Eyes
from automatch.web import routes
from automatch.web.session import CookieSession
from automatch.worker.lane import Bench
from automatch.worker.scheduler import Scheduler
from automatch.worker.spare import SpareWorker
from automatch.worker.worker import Worker

log = structlog.get_logger(__name__)


def make_photos(settings: Settings) -> PhotoStore:
    """Return the photo store that *settings* ask for."""
    return FolderPhotos(settings.home / "photos", min_free_mb=settings.retention.min_free_mb)


def create_app(settings: Settings, secrets: Secrets) -> FastAPI:
    """Return the ASGI application: API and pages. It connects when its lifespan starts."""
    db = Database(database_address(settings, secrets, "api"), settings.pool, name="automatch-api")
    tokens = Tokens(secrets.jwt_secret, settings.auth)
    hub = FeedHub(db, settings.feed)
    accounts = Accounts(db, tokens, settings.auth)
    services = Services(
        settings=settings,
        db=db,
        photos=make_photos(settings),
        hub=hub,
        tokens=tokens,
        accounts=accounts,
        links=PhotoLinks(secrets.photo_key),
        admission=make_admission(settings, db),
        spare_worker=SpareWorker(settings),
        realtime=RealtimeParts(
            settings, db, hub, Seats(settings.realtime), tokens.verify, accounts.is_signed_in
        ),
    )

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        async with db:
            listening = asyncio.create_task(services.hub.run())
            listening.add_done_callback(stop_when_broken)
            try:
                yield
            finally:
                listening.cancel()
                await asyncio.gather(listening, return_exceptions=True)

    app = FastAPI(
        title="Auto-Match",
        version=__version__,
        lifespan=lifespan,
        openapi_url="/api/openapi.json",
        docs_url=None,
        redoc_url=None,
    )
    app.state.services = services
    for part in (
        auth,
        profile,
        faces,
        jobs,
        matches,
        admin,
        admin_duplicates,
        functions,
        realtime,
        health,
    ):
        app.include_router(part.router)
    routes.add_pages(app)
    add_error_handlers(app)
    app.add_middleware(
        Gate,
        tokens=tokens,
        limits=settings.upload,
        pages=CookieSession(services),
        functions=FunctionKeys(db, tokens, settings.auth.secret_key),
    )
    return app


def stop_when_broken(task: asyncio.Task[None]) -> None:
    """Stop the process when *task* broke: a server whose feeds are silent only looks well."""
    if not task.cancelled() and task.exception() is not None:
        log.error("feeds broke, stopping", error=type(task.exception()).__name__)
        signal.raise_signal(signal.SIGTERM)


@asynccontextmanager
async def open_worker(
    settings: Settings, secrets: Secrets, embedder: Embedder | None = None
) -> AsyncIterator[Worker]:
    """Give a worker that is ready to run: connected, its model loaded."""
    photos = make_photos(settings)
    async with AsyncExitStack() as stack:
        db = await stack.enter_async_context(
            Database(
                database_address(settings, secrets, "worker"),
                settings.pool,
                name="automatch-worker",
            )
        )
        eyes = await stack.enter_async_context(Eyes(settings, embedder or DlibEmbedder()))
        scheduler = Scheduler(db, photos, settings.worker, settings.retention)
        search = BatchSearch(db, max_bytes=settings.worker.search_cache_mb * 1024**2)
        # Two threads of BLAS on the cores that Postgres and the eyes share wait for each other.
        stack.enter_context(threadpool_limits(1, user_api="blas"))
        seats = asyncio.Semaphore(settings.vision.threads)
        yield Worker(Bench(db, photos, eyes, settings.worker, search, seats), scheduler)
