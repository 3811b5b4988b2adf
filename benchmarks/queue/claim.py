"""What a claim costs beside the update that it is, row by row."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg

from benchmarks.queue.people import Population, fill
from benchmarks.queue.report import figure, median, put, spread, table, verdict
from benchmarks.queue.server import Server

_COUNT = 50
_CLAIM = "select id from public.claim_match_jobs(%(worker)s, %(count)s, '30 s')"
_SET = """
    update public.match_jobs as j
    set status = 'processing', attempts = j.attempts + 1, lease_token = j.lease_token + 1,
        lease_expires_at = now() + interval '30 s', worker_id = %(worker)s, started_at = now(),
        timings = jsonb_build_object(
            'claimed_ms', round(1000 * extract(epoch from now() - j.created_at), 1)
        )
"""
_CHOOSE = f"""
    with due as materialized (
        select id from public.match_jobs
        where completed_at is null and status = 'pending' and not scheduled and position >= 0
        order by position limit %(count)s for update skip locked
    )
    {_SET} from due where j.id = due.id returning j.id
"""
_GIVEN = f"{_SET} where j.id = any (%(ids)s) returning j.id"
_WAYS = {
    "**claim_match_jobs()**": _CLAIM,
    "choosing, locking and updating them, in one statement": _CHOOSE,
    "updating given rows": _GIVEN,
}


async def measure(server: Server, machine: str, rounds: int) -> None:
    """Measure and write the table of claims."""
    template = server.create("claims")
    fill(template, Population(50, _COUNT * len(_WAYS) * 20 // 50, 1))
    times: dict[str, list[float]] = defaultdict(list)
    for _ in range(rounds):
        with server.cloned("claims") as database, psycopg.connect(database.owner) as conn:
            conn.prepare_threshold = 0
            conn.autocommit = True
            _claim_all(conn, times)
    server.drop("claims")
    claim, chosen, given = (median(times[way]) for way in _WAYS)
    lines = [[way, f"{spread(times[way])} ms", figure(median(times[way]) / given)] for way in _WAYS]
    put("claim", f"{machine}\n\n{table(['50 jobs', 'CPU of the session', 'factor'], lines)}")
    aims = [["a claim, against the statement", "1.2", figure(claim / chosen)]]
    print(table(["", "at most", "measured"], aims), verdict(claim <= 1.2 * chosen))


def _claim_all(conn: psycopg.Connection[Any], times: dict[str, list[float]]) -> None:
    rows = conn.execute("select id from public.match_jobs order by position").fetchall()
    ids = [row[0] for row in rows]
    worker = uuid4()
    for start in range(0, len(ids), _COUNT * len(_WAYS)):
        for turn, (way, statement) in enumerate(_WAYS.items()):
            first = start + turn * _COUNT
            values = {"worker": worker, "count": _COUNT, "ids": ids[first : first + _COUNT]}
            before = _cpu_ms(conn.info.backend_pid)
            claimed: Sequence[Any] = conn.execute(statement, values).fetchall()
            # The first ones plan.
            if start:
                times[way].append(_cpu_ms(conn.info.backend_pid) - before)
            assert len(claimed) == _COUNT


def _cpu_ms(process: int) -> float:
    return int(Path(f"/proc/{process}/schedstat").read_text(encoding="ascii").split()[0]) / 1e6
