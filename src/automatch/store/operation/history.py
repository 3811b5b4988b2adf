"""The history of 30 days: recorded by the worker that does the maintenance, read for charts."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

from psycopg.rows import class_row

from automatch.model.history import HistoryPoint, Stage, StageTimes
from automatch.store.call import call_rows, call_value
from automatch.store.database import Connection

_STEPS = (timedelta(minutes=5), timedelta(minutes=30), timedelta(hours=1), timedelta(hours=3))
_MOST_POINTS = 300


async def record_history(conn: Connection) -> int:
    """Record what is over and not recorded yet, a hundred times five minutes; return how many."""
    return int(await call_value(conn, "record_history"))


async def load_history(conn: Connection, hours: int) -> list[HistoryPoint]:
    """Return the last *hours* in at most some 300 equal steps, oldest first, up to this moment.

    Steps begin at full five minutes, half hours and so on. Those of times when no worker ran are
    missing until one does.
    """
    age = timedelta(hours=hours)
    step = next((each for each in _STEPS if age / each <= _MOST_POINTS), _STEPS[-1])
    points = await call_rows(conn, "get_history", class_row(HistoryPoint), age=age, step=step)
    return [replace(point, stages=_as_stages(point.stages)) for point in points]


def _as_stages(numbers: Any) -> dict[Stage, StageTimes]:
    return {
        Stage(name): StageTimes(
            each["ms"], {int(step): count for step, count in each["counts"].items()}
        )
        for name, each in numbers.items()
    }
