"""Jobs a second in one process: this queue, its peers and the limit, in shuffled rounds."""

from __future__ import annotations

import asyncio
import random
from collections import defaultdict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace

import psycopg

from benchmarks.queue import ours, peers, raw
from benchmarks.queue.people import Population, fill
from benchmarks.queue.report import figure, median, put, spread, table, verdict
from benchmarks.queue.server import Cost, Server
from benchmarks.queue.worker_process import running
from tests.support.postgres import Database

_OURS = "**Auto-Match**, queue alone"
_SEARCHING = "Auto-Match, each job searched for, nobody found"
_WORKER = "Auto-Match, whole worker, queue alone"
_FIVE = "**Auto-Match**, five matches a job, in both feeds"
_LIMIT = "raw loop, two statements"
_MERGED = "raw loop, end and claim in one statement"
_PGQUEUER, _PROCRASTINATE = "pgqueuer", "procrastinate"


_Run = Callable[[Server, Database, int], Awaitable[tuple[int, Cost]]]


@dataclass(frozen=True)
class _Setup:
    name: str
    batch: int
    jobs: int
    """Enough for a second or two."""
    template: str
    run: _Run


def _setups() -> list[_Setup]:
    return [
        *(
            _Setup(name, batch, jobs, f"{template}_{size}", _here(run))
            for name, template, run, sizes in (
                (_OURS, "alone", ours.finish_all, (1_000, 8_000, 20_000)),
                (_SEARCHING, "lonely", ours.finish_all, (600, 3_000, 6_000)),
                (_LIMIT, "raw", raw.finish_all, (2_000, 15_000, 60_000)),
                (_MERGED, "raw", raw.finish_all_merged, (2_000, 15_000, 60_000)),
                (_PGQUEUER, "pgqueuer", peers.finish_pgqueuer, (1_000, 6_000, 10_000)),
                (_PROCRASTINATE, "procrastinate", peers.finish_procrastinate, (1_000,) * 3),
            )
            for batch, jobs, size in zip((1, 10, 100), sizes, "sml", strict=True)
        ),
        _Setup(_FIVE, 100, 3_000, "five", _here(ours.finish_all)),
        _Setup(_WORKER, 100, 20_000, "alone_l", _finish_with_worker),
    ]


async def measure(server: Server, machine: str, rounds: int, scale: float) -> None:
    """Measure and write the tables of parts A and B."""
    setups = _setups()
    await _prepare(server, setups, scale)
    costs: dict[tuple[str, int], list[tuple[int, Cost]]] = defaultdict(list)
    for number in range(rounds):
        for setup in random.sample(setups, len(setups)):
            with server.cloned(setup.template) as database:
                finished, cost = await setup.run(server, database, setup.batch)
            costs[setup.name, setup.batch].append((finished, cost))
            rate = finished / cost.seconds
            print(f"round {number + 1}: {setup.name}, batch {setup.batch}: {rate:,.0f} jobs/s")
    _write(machine, costs)


async def _prepare(server: Server, setups: list[_Setup], scale: float) -> None:
    jobs = {setup.template: max(int(setup.jobs * scale), 100) for setup in setups}
    for name, count in jobs.items():
        kind = name.partition("_")[0]
        if kind == "raw":
            await raw.prepare(server.create(name, "empty"), count)
        elif kind == "pgqueuer":
            await peers.prepare_pgqueuer(server.create(name, "empty"), count)
        elif kind == "procrastinate":
            await peers.prepare_procrastinate(server.create(name, "empty"), count)
        else:
            database = server.create(name)
            # Groups of five women and five men: each woman finds the five men of her group.
            size = 5 if kind == "five" else 1
            men = 5 if kind == "five" else 0
            fill(database, Population(50, max(count // 50 // size, 1), size, men))
            if kind == "alone":
                ours.switch_off_search(database)


async def _finish_with_worker(server: Server, database: Database, _: int) -> tuple[int, Cost]:
    async with running("queue", database) as worker:
        cpu_s = worker.cpu_s
        with server.counting() as cost:
            await worker.start()
            finished = await until_finished(database)
        return finished, replace(cost[0], client_cpu_s=worker.cpu_s - cpu_s)


def _here(finish_all: Callable[[Database, int], Awaitable[int]]) -> _Run:
    """Count what a function takes that works in this process."""

    async def run(server: Server, database: Database, batch: int) -> tuple[int, Cost]:
        with server.counting() as cost:
            finished = await finish_all(database, batch)
        return finished, cost[0]

    return run


async def until_finished(database: Database) -> int:
    """Wait until no job is open; return how many are completed."""
    async with await psycopg.AsyncConnection.connect(database.owner, autocommit=True) as conn:
        while True:
            await asyncio.sleep(0.02)
            cursor = await conn.execute(
                "select exists (select from match_jobs where status in ('pending', 'processing'))"
            )
            if await cursor.fetchone() == (False,):
                break
        cursor = await conn.execute("select count(*) from match_jobs where status = 'completed'")
        row = await cursor.fetchone()
    return int(row[0]) if row else 0


def _write(machine: str, costs: dict[tuple[str, int], list[tuple[int, Cost]]]) -> None:
    rates = {key: [jobs / cost.seconds for jobs, cost in runs] for key, runs in costs.items()}
    limit = {batch: median(values) for (name, batch), values in rates.items() if name == _LIMIT}
    rows = [
        [
            name,
            str(batch),
            spread(rates[name, batch]),
            f"{median(rates[name, batch]) / limit[batch]:.2f}",
            *_per_job(runs),
        ]
        for (name, batch), runs in sorted(
            costs.items(), key=lambda item: (item[0][1], -median(rates[item[0]]))
        )
    ]
    head = [
        "queue", "batch", "jobs a second", "of the raw loop", "CPU, client", "CPU, Postgres",
        "WAL", "write commits a job",
    ]  # fmt: skip
    put("throughput", f"{machine}\n\n{table(head, rows)}")

    best = max(median(values) for (name, _), values in rates.items() if name == _OURS)
    default = median(rates[_PGQUEUER, 10])
    five = median(rates[_FIVE, 100])
    peers_at_one = max(median(rates[name, 1]) for name in (_PGQUEUER, _PROCRASTINATE))
    share = best / limit[100]
    ahead = median(rates[_OURS, 1]) / peers_at_one
    aims = [
        ["no-op jobs a second, one process", "12,000", figure(best), verdict(best >= 12_000)],
        ["of the raw loop at batch 100", "0.5", f"{share:.2f}", verdict(share >= 0.5)],
        ["at batch 1, against the better peer", "over 1", f"{ahead:.2f}", verdict(ahead > 1)],
        [
            "five matches a job, against pgqueuer's no-op at its default batch of 10",
            "2",
            f"{five / default:.2f}",
            verdict(five >= 2 * default),
        ],
    ]
    put("throughput-aims", table(["", "aim", "measured", "reached"], aims))


def _per_job(runs: list[tuple[int, Cost]]) -> list[str]:
    def of(value: Callable[[Cost], float]) -> float:
        return median([value(cost) / jobs for jobs, cost in runs])

    return [
        f"{figure(1e6 * of(lambda cost: cost.client_cpu_s))} us",
        f"{figure(1e6 * of(lambda cost: cost.server_cpu_s))} us",
        f"{figure(of(lambda cost: cost.wal_bytes))} B",
        f"{of(lambda cost: cost.commits):.3f}",
    ]
