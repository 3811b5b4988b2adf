"""Composition root of the server: builds it from settings; nothing else does."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from datetime import timedelta
from functools import partial

from fastapi import FastAPI
from starlette.middleware.gzip import GZipMiddleware

from automatch import __version__
from automatch.auth.addresses import AddressKey
from automatch.auth.confirmations import Confirmations
from automatch.auth.host_keys import read_fingerprints
from automatch.auth.keys import AiKeys, FunctionKeys
from automatch.auth.photo_links import PhotoLinks
from automatch.auth.tokens import Tokens, tokens_from
from automatch.background import BackgroundTasks
from automatch.feed.live import LiveFeed
from automatch.http.deps import Services
from automatch.http.errors import add_error_handlers
from automatch.http.middleware.auth_and_limits import AuthAndLimitsMiddleware
from automatch.http.middleware.authentication import ai_authenticators, server_authenticators
from automatch.http.middleware.cross_origin import CrossOriginMiddleware
from automatch.http.routes import (
    admin,
    ai,
    auth,
    faces,
    health,
    jobs,
    matches,
    profile,
    receipts,
    reports,
    supabase,
)
from automatch.http.routes import metrics as metrics_routes
from automatch.mail.mailer import Mailer
from automatch.photos.make import make_photos
from automatch.postgres.addresses import database_address, pooled_address, replica_address
from automatch.push.sender import PushSender
from automatch.services.accounts.accounts import Accounts
from automatch.services.accounts.mailed_links import MailedLinks
from automatch.services.accounts.notifications import Notifications
from automatch.services.accounts.rate_limits import RateLimits
from automatch.services.matching.thresholds import make_figures
from automatch.services.operation.figures import Figures
from automatch.services.operation.installation_checks import check_installation
from automatch.services.operation.metrics import ServerScrape
from automatch.services.operation.server_report import ServerReport
from automatch.services.operators.site_operator import SiteOperatorCache
from automatch.services.people.memberships import Memberships
from automatch.services.photos.admission import make_admission
from automatch.services.photos.ai_requests import AiRequestLimiter
from automatch.services.photos.photo_views import PhotoViews
from automatch.services.photos.photos import PhotoCheck, Uploads
from automatch.services.protection.erasures import make_erasures
from automatch.services.protection.reports import Reports
from automatch.settings import Settings
from automatch.settings.connections import FEED_POOL
from automatch.settings.secrets import Secrets
from automatch.store.database import Database
from automatch.store.operation.disk import list_data_folders
from automatch.store.photos.photo_store import check_photo_store
from automatch.store.replica import Replica
from automatch.supabase_compat.realtime.channel import RealtimeDeps
from automatch.supabase_compat.realtime.limits import ConnectionLimits
from automatch.telemetry.metrics import ServerMetrics
from automatch.vision import Embedder
from automatch.vision.decode.upload_check import limits_from
from automatch.web import routes
from automatch.web.session import CookieSession
from automatch.worker.on_demand import OnDemandWorker
from automatch.worker_app import ai_key, make_analyzer, make_traces


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
    address = pooled_address(settings, secrets, "api")
    direct = database_address(settings, secrets, "api")
    db = Database(address, settings.pool, name="automatch-api", direct=direct)
    replica = _make_replica(settings, secrets, db)
    tokens = tokens_from(settings, secrets)
    metrics = ServerMetrics()
    traces = make_traces(settings, "automatch-server")
    feed_db = Database(address, FEED_POOL, name="automatch-api-feed", direct=direct)
    live = LiveFeed.over(feed_db, settings.feed, metrics, traces)
    rate_limits = RateLimits(db, settings.limits, secrets.jwt_secret)
    addresses = AddressKey(secrets.address_key)
    accounts = Accounts(db, tokens, settings.auth, rate_limits, addresses)
    mailer = Mailer.from_settings(settings, db)
    photos = make_photos(settings)
    admission = make_admission(settings, db)
    services = Services(
        settings=settings,
        db=db,
        reads=replica or db,
        photos=photos,
        live=live,
        tokens=tokens,
        accounts=accounts,
        memberships=Memberships(db, rate_limits),
        notifications=Notifications(db, settings, secrets),
        mailed_links=MailedLinks(
            db,
            accounts,
            rate_limits,
            settings.auth.mailed_link_s,
            sends_mail=mailer is not None,
        ),
        reports=Reports(db, rate_limits, addresses, sends_mail=mailer is not None),
        photo_links=PhotoLinks(secrets.photo_key),
        addresses=addresses,
        erasures=make_erasures(
            settings,
            db,
            photos,
            addresses=addresses,
        ),
        confirmations=Confirmations(secrets.photo_key),
        photo_check=PhotoCheck(photos),
        photo_views=PhotoViews(db),
        admission=admission,
        uploads=Uploads(
            db,
            photos,
            admission,
            limits_from(settings),
            settings.limits,
            needs_challenge=settings.upload.first_photo_challenge,
        ),
        rate_limits=rate_limits,
        site_operator=SiteOperatorCache(db),
        on_demand_worker=OnDemandWorker(settings),
        background=background,
        realtime=RealtimeDeps(
            settings,
            db,
            live,
            ConnectionLimits(settings.realtime),
            tokens.verify,
        ),
        checks=Figures(lambda: check_installation(settings), life=timedelta(hours=1)),
        threshold_figures=Figures(lambda: make_figures(db), life=timedelta(minutes=15)),
        schedule_dsn=database_address(settings, secrets, "schedule"),
    )

    ai_requests = AiRequestLimiter(settings, lambda: make_analyzer(settings, embedder))
    server_report = ServerReport(
        db, live.notifier, metrics, partial(read_fingerprints, settings.home, secrets)
    )

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            if traces is not None:
                stack.push_async_callback(asyncio.to_thread, traces.close)
            await stack.enter_async_context(db)
            async with db.transaction() as conn:
                await check_photo_store(conn, photos, may_claim=True)
            stack.push_async_callback(ai_requests.close)
            await stack.enter_async_context(live.running(background))
            stack.push_async_callback(server_report.close)
            await stack.enter_async_context(background.running("server report", server_report.run))
            for part in (services.photo_views, services.checks, services.threshold_figures):
                stack.push_async_callback(part.close)
            await stack.enter_async_context(
                background.running("views of photos", services.photo_views.run)
            )
            pushes = PushSender.from_settings(settings, secrets, db)
            if replica is not None:
                await stack.enter_async_context(replica.running(background))
            for name, run in _optional_parts(mailer, pushes, tokens):
                await stack.enter_async_context(background.running(name, run))
            yield

    app = _application(lifespan)
    app.state.services = services
    app.state.ai_requests = ai_requests
    app.state.scrape = ServerScrape(
        metrics,
        db=db,
        replica=replica,
        notifier=live.notifier,
        background=background,
        folders=list_data_folders(settings),
    )
    # The router tries one after the other: what is asked for most comes first.
    modules = [
        matches,
        faces,
        jobs,
        auth,
        profile,
        reports,
        admin,
        supabase,
        health,
        receipts,
    ]
    if settings.metrics.token is not None:
        modules.append(metrics_routes)
    for module in [*modules, ai] if with_ai else modules:
        # `include_router` would build each of them again, at every start.
        app.router.routes.extend(module.router.routes)
    routes.add_pages(app)
    app.add_middleware(
        AuthAndLimitsMiddleware,
        settings=settings,
        authenticators=server_authenticators(
            tokens=tokens,
            ai_keys=AiKeys(ai_key(settings), tokens),
            function_keys=FunctionKeys(db, tokens),
            pages=CookieSession(services),
            metrics_token=settings.metrics.token,
        ),
        metrics=metrics,
        traces=traces,
        rate_limits=rate_limits,
    )
    if settings.web_origins:
        app.add_middleware(CrossOriginMiddleware, settings=settings)
    return app


def _make_replica(settings: Settings, secrets: Secrets, db: Database) -> Replica | None:
    address = replica_address(settings, secrets)
    return Replica(db, address, settings.pool) if address else None


def _optional_parts(
    mailer: Mailer | None, pushes: PushSender | None, tokens: Tokens
) -> Iterator[tuple[str, Callable[[], Awaitable[None]]]]:
    """Give what runs beside a server whose settings ask for it."""
    if mailer is not None:
        yield "mail", mailer.run
    if pushes is not None:
        yield "web push", pushes.run
    if tokens.issuer is not None and tokens.issuer.keys is not None:
        yield "issuer keys", tokens.issuer.keys.run


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
    tokens = tokens_from(settings, secrets) if secrets else None
    keys = AiKeys(ai_key(settings), tokens)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        await ai_requests.analyzer()
        try:
            yield
        finally:
            await ai_requests.close()

    app = _application(lifespan)
    app.state.ai_requests = ai_requests
    app.router.routes.extend([*ai.router.routes, *health.ai_router.routes])
    metrics = ServerMetrics()
    app.state.scrape = ServerScrape(metrics)
    if settings.metrics.token is not None:
        app.router.routes.extend(metrics_routes.router.routes)
    app.add_middleware(
        AuthAndLimitsMiddleware,
        settings=settings,
        authenticators=ai_authenticators(keys, settings.metrics.token),
        metrics=metrics,
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
    # Not photos, nor events. Lengths tell nobody a secret (BREACH): programs send tokens and no
    # cookies, and no page of somebody who is signed in repeats what its address asks for.
    app.add_middleware(GZipMiddleware, compresslevel=5)
    add_error_handlers(app)
    return app
