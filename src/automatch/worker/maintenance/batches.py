"""Doing much in short transactions, so that nobody waits for it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from automatch.store.database import Connection, Database

BETWEEN_BATCHES_S = 0.05


async def run_in_batches(db: Database, run_batch: Callable[[Connection], Awaitable[int]]) -> int:
    """Run batches until one does nothing; return the sum of their counts."""
    total = 0
    while True:
        async with db.connection() as conn:
            count = await run_batch(conn)
        if not count:
            return total
        total += count
        await asyncio.sleep(BETWEEN_BATCHES_S)
