"""How many connections to Postgres each process opens at most."""

from __future__ import annotations

from automatch.settings.database import PoolSettings
from automatch.settings.settings import Settings

_LISTENER = 1
"""A server waits for changes of feeds on it, a worker for jobs."""
_HEARTBEAT = 1
_SCHEDULE = 1
"""The server that runs the schedule holds its lock on it."""
FEED_POOL = PoolSettings(min_size=1, max_size=3)
"""What open feeds read with: no request waits behind them."""
SCHEDULE_POOL = PoolSettings(min_size=0, max_size=2)
"""What the schedule and the queue of requests use. Each job that runs has one more."""


def worker_pool(settings: Settings) -> PoolSettings:
    """Return the pool of a worker: one for each batch, one for maintenance, one for old photos."""
    size = min(settings.pool.max_size, settings.worker.concurrency + 2)
    return settings.pool.model_copy(
        update={"max_size": size, "min_size": min(settings.pool.min_size, size)}
    )


def worker_connections(settings: Settings) -> int:
    """Return how many connections to Postgres itself a worker opens at most."""
    pooled = 0 if settings.direct_url else worker_pool(settings).max_size + _HEARTBEAT
    return pooled + _LISTENER


def server_connections(settings: Settings) -> int:
    """Return how many to Postgres itself a server opens at most, without cron jobs that run."""
    pooled = 0 if settings.direct_url else settings.pool.max_size + FEED_POOL.max_size
    listeners = _LISTENER + (_LISTENER if settings.mails_people else 0)
    return pooled + listeners + _SCHEDULE + SCHEDULE_POOL.max_size
