"""What metrics tell of the database."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

import psycopg
import structlog
from psycopg.rows import class_row

from automatch.errors.store import StoreError
from automatch.store.call import call_rows
from automatch.store.database import Database

_DEADLINE_S = 2.0
"""A scrape that waits longer would tell nothing of the process either."""

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Figure:
    """One number of `public.get_metrics()`."""

    name: str
    label: str | None
    value: float


async def read_figures(db: Database) -> list[Figure] | None:
    """Return what the database tells of itself; None when it does not answer in time."""
    try:
        async with asyncio.timeout(_DEADLINE_S), db.connection() as conn:
            return await call_rows(conn, "get_metrics", class_row(Figure))
    except (StoreError, TimeoutError):
        return None
    except psycopg.Error as exc:
        # Of a database that has not been migrated, for one.
        log.exception("figures of the database not read", exc_info=exc)
        return None


async def is_up(db: Database) -> bool:
    """Return whether the database answers in time."""
    try:
        async with asyncio.timeout(_DEADLINE_S), db.connection():
            return True
    except (StoreError, TimeoutError):
        return False
