"""docs/benchmarks.md: each part between its own two marks, so that one can be measured anew."""

from __future__ import annotations

import os
import platform
import re
import statistics
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import psutil

PAGE = Path(__file__).parents[2] / "docs" / "benchmarks.md"
_LIBRARIES = ("psycopg", "asyncpg", "pgqueuer", "procrastinate")


def machine(postgres: str) -> str:
    """Name what the figures are of; without it they mean nothing."""
    model = platform.processor() or platform.machine()
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.partition(":")[2].strip()
            break
    memory = round(psutil.virtual_memory().total / 1024**3)
    libraries = ", ".join(f"{name} {version(name)}" for name in _LIBRARIES)
    load = os.getloadavg()[0]
    return (
        f"*{model}, {os.cpu_count()} cores, {memory} GiB; Postgres {postgres} (embedded, default "
        f"settings, durable), Python {platform.python_version()}, {libraries}; "
        f"{datetime.now(UTC):%Y-%m-%d}; load before: {load:.1f}.*"
    )


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def spread(values: Sequence[float], unit: str = "") -> str:
    """Write a median with the least and the most."""
    low, middle, high = (figure(each) for each in (min(values), median(values), max(values)))
    return f"**{middle}**{unit} ({low} to {high})"


def median(values: Sequence[float]) -> float:
    return statistics.median(values)


def percentile(values: Sequence[float], share: float) -> float:
    return sorted(values)[min(int(len(values) * share), len(values) - 1)]


def figure(value: float) -> str:
    """Write three digits that count."""
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def verdict(reached: bool) -> str:
    return "yes" if reached else "**no**"


def put(part: str, text: str) -> None:
    """Print a part and write it between its marks."""
    print(f"\n{text}\n", flush=True)
    page = PAGE.read_text(encoding="utf-8")
    start, end = f"<!-- {part}: begin -->", f"<!-- {part}: end -->"
    pattern = re.compile(re.escape(start) + ".*" + re.escape(end), re.DOTALL)
    if not pattern.search(page):
        raise ValueError(f"{PAGE.name} has no place for {part}")
    page = pattern.sub(lambda _: f"{start}\n{text}\n{end}", page)
    PAGE.write_text(page, encoding="utf-8")
