"""Composition root: builds the server and the worker from settings; nothing else does."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager

from fastapi import FastAPI
from starlette.middleware.cors import CORSMiddleware
from threadpoolctl import threadpool_limits

from automatch import __version__
from automatch.auth.keys import AiKeys, FunctionKeys
from automatch.auth.photo_links import PhotoLinks
from automatch.auth.tokens import tokens_from
from automatch.background import BackgroundTasks
from automatch.errors.configuration import SettingsError
from automatch.feed.notifier import FeedNotifier
from automatch.http.deps import Services
from automatch.http.errors import add_error_handlers
from automatch.http.middleware.auth_and_limits import AuthAndLimitsMiddleware
from automatch.http.middleware.authentication import ai_authenticators, server_authenticators
from automatch.http.routes import (
    admin,
    ai,
    auth,
    faces,
    health,
    jobs,
    matches,
    profile,
    supabase,
)
from automatch.model.people import Role
from automatch.photos.folder import FolderPhotos
from automatch.photos.store import PhotoStore
from automatch.postgres.addresses import database_address
from automatch.search.batch import BatchSearch
from automatch.services.accounts import Accounts
from automatch.services.admission import make_admission
from automatch.services.ai_requests import AiRequestLimiter
from automatch.services.photos import Uploads
from automatch.services.rate_limits import RateLimits
from automatch.settings import Settings
from automatch.settings.secrets import Secrets
from automatch.store.database import Database
from automatch.store.model_changes import read_active_model
from automatch.supabase_compat.realtime.channel import RealtimeDeps
from automatch.supabase_compat.realtime.limits import ConnectionLimits
from automatch.vision import Embedder, FaceAnalyzer, LocalAnalyzer, RemoteAnalyzer
from automatch.vision.decode.upload_check import limits_from
from automatch.vision.load import open_embedder
from automatch.web import routes
from automatch.web.session import CookieSession
from automatch.worker.maintenance import MaintenanceRunner
from automatch.worker.on_demand import OnDemandWorker
from automatch.worker.run import WorkerContext
from automatch.worker.worker import Worker

_AI_KEY_LIFE_S = 300
"""A key that is made for one request need not live much longer."""
_APP_HEADERS = [
    *("authorization", "content-type", "last-event-id"),
    # Of supabase clients.
    *("apikey", "x-client-info", "x-supabase-api-version", "x-region"),
]


def make_photos(settings: Settings) -> PhotoStore:
    """Return the photo store that *settings* ask for.

    Raises:
        SettingsError: they ask for a bucket, and the library for that is not installed.
    """
    if settings.photos.bucket is not None:
        try:
            from automatch.photos.bucket import BucketPhotos
        except ImportError as exc:
            raise SettingsError(
                "AUTOMATCH_PHOTOS__BUCKET needs one more library: pip install 'automatch[s3]'."
            ) from exc
        return BucketPhotos(settings.photos)
    return FolderPhotos(settings.home / "photos", min_free_mb=settings.retention.min_free_mb)


def make_analyzer(settings: Settings, embedder: Embedder | None = None) -> LocalAnalyzer:
    """Return this machine's face analyzer; it runs the model of the AI service by default."""
    return LocalAnalyzer(settings, embedder or open_embedder(settings.ai.model, settings.home))


def create_app(
    settings: Settings,
    secrets: Secrets,
    *,
    embedder: Embedder | None = None,
    with_ai: bool = True,
    background: BackgroundTasks | None = None,
) -> FastAPI:
    """Return the ASGI application: API and pages. It connects to the database when it starts.

    The AI service is part of it by default; its model is loaded by the first request for it.
    `/readyz` answers for what the process runs in the *background* too.
    """
    background = background or BackgroundTasks()
    db = Database(database_address(settings, secrets, "api"), settings.pool, name="automatch-api")
    tokens = tokens_from(settings, secrets.jwt_secret)
    notifier = FeedNotifier(db, settings.feed)
    accounts = Accounts(db, tokens, settings.auth)
    photos = make_photos(settings)
    admission = make_admission(settings, db)
    rate_limits = RateLimits(db, settings.limits, secrets.jwt_secret)
    services = Services(
        settings=settings,
        db=db,
        photos=photos,
        notifier=notifier,
        tokens=tokens,
        accounts=accounts,
        photo_links=PhotoLinks(secrets.photo_key),
        admission=admission,
        uploads=Uploads(db, photos, admission, limits_from(settings)),
        rate_limits=rate_limits,
        on_demand_worker=OnDemandWorker(settings),
        background=background,
        realtime=RealtimeDeps(
            settings, db, notifier, ConnectionLimits(settings.realtime), tokens.verify
        ),
    )

    ai_requests = AiRequestLimiter(settings, lambda: make_analyzer(settings, embedder))

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(db)
            stack.push_async_callback(ai_requests.close)
            await stack.enter_async_context(background.running("feeds", notifier.run))
            if tokens.issuer is not None and tokens.issuer.keys is not None:
                keys = tokens.issuer.keys
                await stack.enter_async_context(background.running("issuer keys", keys.run))
            yield

    app = _application(lifespan)
    app.state.services = services
    app.state.ai_requests = ai_requests
    modules = [
        auth,
        profile,
        faces,
        jobs,
        matches,
        admin,
        supabase,
        health,
    ]
    for module in [*modules, ai] if with_ai else modules:
        app.include_router(module.router)
    routes.add_pages(app)
    app.add_middleware(
        AuthAndLimitsMiddleware,
        settings=settings,
        authenticators=server_authenticators(
            tokens=tokens,
            ai_keys=AiKeys(_ai_key(settings), tokens),
            function_keys=FunctionKeys(db, tokens),
            pages=CookieSession(services),
        ),
        rate_limits=rate_limits,
    )
    if settings.web_origins:
        # Without credentials: an app shows a token that it holds, never a cookie of our pages.
        app.add_middleware(
            CORSMiddleware,
            allow_origins=settings.web_origins.split(),
            allow_methods=["GET", "POST", "PUT", "DELETE"],
            allow_headers=_APP_HEADERS,
            expose_headers=["retry-after"],
        )
    return app


def create_ai_app(
    settings: Settings, secrets: Secrets | None, *, embedder: Embedder | None = None
) -> FastAPI:
    """Return the AI service alone, which needs no database; its model is loaded at the start.

    Args:
        settings: with an `ai_key`, that is the key, and *secrets* may be left out.
        secrets: with these, the service_role key of the project is accepted too.
        embedder: another model than the default.
    """
    ai_requests = AiRequestLimiter(settings, lambda: make_analyzer(settings, embedder))
    tokens = tokens_from(settings, secrets.jwt_secret) if secrets else None
    keys = AiKeys(_ai_key(settings), tokens)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        await ai_requests.analyzer()
        try:
            yield
        finally:
            await ai_requests.close()

    app = _application(lifespan)
    app.state.ai_requests = ai_requests
    app.include_router(ai.router)
    app.include_router(health.ai_router)
    app.add_middleware(
        AuthAndLimitsMiddleware, settings=settings, authenticators=ai_authenticators(keys)
    )
    return app


def _application(lifespan: Callable[[FastAPI], AbstractAsyncContextManager[None]]) -> FastAPI:
    app = FastAPI(
        title="Auto-Match",
        version=__version__,
        lifespan=lifespan,
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
    )
    add_error_handlers(app)
    return app


def _ai_key(settings: Settings) -> str | None:
    return settings.ai_key.get_secret_value() if settings.ai_key else None


@asynccontextmanager
async def open_worker(
    settings: Settings, secrets: Secrets, embedder: Embedder | None = None
) -> AsyncIterator[Worker]:
    """Yield a worker that is connected, with its model loaded, here or in an AI service."""
    photos = make_photos(settings)
    async with AsyncExitStack() as stack:
        db = await stack.enter_async_context(
            Database(
                database_address(settings, secrets, "worker"),
                settings.pool,
                name="automatch-worker",
                for_worker=True,
            )
        )
        analyzer: FaceAnalyzer
        if settings.ai_url:
            model = await _read_active_model(db)
            analyzer = await stack.enter_async_context(_remote_analyzer(settings, secrets, model))
        else:
            if embedder is None:
                embedder = open_embedder(await _read_active_model(db), settings.home)
            analyzer = await stack.enter_async_context(make_analyzer(settings, embedder))
        maintenance = MaintenanceRunner(db, photos, settings.worker, settings.retention)
        search = BatchSearch(db, max_bytes=settings.worker.search_cache_mb * 1024**2)
        # More threads of BLAS would compete with Postgres and the analyzer for the same cores.
        stack.enter_context(threadpool_limits(1, user_api="blas"))
        inference_slots = asyncio.Semaphore(
            settings.ai.connections if settings.ai_url else settings.vision.threads
        )
        context = WorkerContext(
            db,
            photos,
            analyzer,
            settings.worker,
            search,
            inference_slots,
            backfill_concurrency=0 if settings.ai_url else settings.vision.threads,
        )
        yield Worker(context, maintenance)


async def _read_active_model(db: Database) -> str:
    async with db.connection() as conn:
        return await read_active_model(conn)


def _remote_analyzer(settings: Settings, secrets: Secrets, model: str) -> RemoteAnalyzer:
    tokens = tokens_from(settings, secrets.jwt_secret)
    key = _ai_key(settings)
    return RemoteAnalyzer(
        settings,
        model_id=model,
        key=lambda: key or tokens.issue_key(Role.SERVICE, life_s=_AI_KEY_LIFE_S),
    )
