"""Buckets of rate limits, shared by all servers through the database."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from automatch.store.call import call, call_value
from automatch.store.database import Connection


@dataclass(frozen=True, slots=True)
class Charge:
    """One charge of a bucket that holds *count* and fills within *seconds*."""

    key: bytes
    count: int
    seconds: float


async def charge(conn: Connection, charges: Sequence[Charge]) -> float:
    """Charge all buckets and return 0, or charge none and return the seconds to wait."""
    return float(await call_value(conn, "charge_rate_limits", **_arrays(charges)))


async def get_wait(conn: Connection, charges: Sequence[Charge]) -> float:
    """Return the seconds until all buckets could be charged, without charging them."""
    return float(await call_value(conn, "get_rate_limit_wait", **_arrays(charges)))


async def refund(conn: Connection, charges: Sequence[Charge]) -> None:
    """Undo a charge."""
    await call(conn, "refund_rate_limits", **_arrays(charges))


async def clean_up(conn: Connection) -> int:
    """Delete buckets that are full again, some at a time; return how many. For workers."""
    return int(await call_value(conn, "clean_up_rate_limits"))


def _arrays(charges: Sequence[Charge]) -> dict[str, object]:
    return {
        "keys": [each.key for each in charges],
        "counts": [each.count for each in charges],
        "seconds": [each.seconds for each in charges],
    }
