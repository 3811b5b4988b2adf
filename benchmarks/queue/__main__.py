"""Measure the queue on this machine and write docs/benchmarks.md.

.venv/bin/python -m benchmarks.queue [--only soak ...] [--rounds 5] [--scale 1] [--minutes 2]
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import sys

import structlog

from benchmarks.queue import claim, depth, enqueue, idle, latency, real, report, soak, throughput
from benchmarks.queue.server import running_server

_PARTS = ("throughput", "claim", "latency", "real", "depth", "enqueue", "idle", "soak")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", choices=_PARTS, default=_PARTS, metavar="PART")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--scale", type=float, default=1, help="share of the usual numbers of jobs")
    parser.add_argument("--minutes", type=float, default=2, help="length of the soak")
    options = parser.parse_args()
    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
    asyncio.run(_measure(options.only, options.rounds, options.scale, options.minutes))


async def _measure(parts: list[str], rounds: int, scale: float, minutes: float) -> None:
    fewer = max(rounds // 2, 1)
    async with running_server() as server:
        machine = report.machine(server.version)
        if "throughput" in parts:
            await throughput.measure(server, machine, rounds, scale)
        if "claim" in parts:
            await claim.measure(server, machine, fewer)
        if "latency" in parts:
            await latency.measure(server, machine, max(int(200 * scale), 20))
        if "real" in parts:
            faces = max(int(100_000 * scale), 1_000)
            await real.measure(server, machine, fewer, faces, max(int(5_000 * scale), 100))
        if "depth" in parts:
            sizes = [int(rows * scale) for rows in (1_000, 100_000, 1_000_000)]
            await depth.measure(server, machine, rounds, sizes)
        if "enqueue" in parts:
            await enqueue.measure(server, machine, max(fewer, 3), max(int(10_000 * scale), 200))
        if "idle" in parts:
            await idle.measure(server, machine, max(60 * scale, 20))
        if "soak" in parts:
            await soak.measure(server, machine, 60 * minutes)


if __name__ == "__main__":
    main()
