"""Trials: two people who do not exist, made for `automatch verify` and erased again.

For the login of the server itself (`Database.connection`), like `queue.queue_admin`.
"""

from __future__ import annotations

from uuid import UUID

from psycopg.rows import class_row

from automatch.model.people import SmokeTestPair
from automatch.store.call import call_row, call_value
from automatch.store.database import Connection


async def start_smoke_test(conn: Connection, actor: str) -> SmokeTestPair:
    """Create the two people, and erase those of interrupted runs."""
    pair = await call_row(conn, "start_smoke_test", class_row(SmokeTestPair), actor=actor)
    assert pair is not None
    return pair


async def end_smoke_test(conn: Connection, actor: str, run_id: UUID) -> int:
    """Erase the people of a run; return how many were still there."""
    return int(await call_value(conn, "end_smoke_tests", run_id=run_id, actor=actor))
