"""Try the faults of tests/fault and write what came of it into docs/reliability.md.

The tests check after each fault that nothing was lost and nothing doubled; a row of the table is a
test that passed. This takes 5 minutes (`--faults medium`) or the better part of an hour (`long`).

    .venv/bin/python -m benchmarks.reliability [--faults medium] [--side-by-side 2] [--dry-run]
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from tests.support.recovery import percentile

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "reliability.md"
BEGIN, END = "<!-- figures: begin -->", "<!-- figures: end -->"


_OUTAGE = {
    "promoted": "it takes writes",
    "accepted": "the uploads that waited are accepted",
    "completed": "their jobs are completed",
}


class Collector:
    """Gathers what the tests noted."""

    def __init__(self) -> None:
        self.figures: list[dict[str, Any]] = []
        self.outages: list[dict[str, Any]] = []
        self.failed: list[str] = []

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed:
            self.failed.append(report.nodeid)
        if report.when == "call":
            self.figures += [value for name, value in report.user_properties if name == "figures"]
            self.outages += [value for name, value in report.user_properties if name == "outage"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--faults", choices=["short", "medium", "long"], default="medium")
    parser.add_argument("--side-by-side", type=int, default=2, help="tests at a time")
    parser.add_argument("--dry-run", action="store_true", help="print, and leave the page alone")
    options = parser.parse_args()
    collector = Collector()
    began = time.monotonic()
    arguments = [
        *(str(ROOT / "tests" / "fault" / name) for name in sorted(files())),
        *("--rootdir", str(ROOT), "-c", str(ROOT / "pyproject.toml"), "-q"),
        *("-n", str(options.side_by_side), "--faults", options.faults),
    ]
    pytest.main(arguments, plugins=[collector])
    if collector.failed:
        sys.exit(f"not written, because these failed: {', '.join(collector.failed)}")
    text = report(collector.figures, collector.outages, options.faults, time.monotonic() - began)
    print(text)
    if not options.dry_run:
        write(text)


def files() -> list[str]:
    """Return the files of tests that note figures."""
    return [path.name for path in (ROOT / "tests" / "fault").glob("test_lost_*.py")] + [
        "test_killed_workers.py"
    ]


def report(
    figures: Sequence[dict[str, Any]],
    outages: Sequence[dict[str, Any]],
    size: str,
    seconds: float,
) -> str:
    """Return the table and what it was measured on."""
    # Only now: it imports modules that pytest wants to be the first to load.
    from automatch.ops.bench.usage import describe_machine

    rows = "\n".join(
        "| {fault} | {times} | {jobs:,} | 0 | 0 | {restarted} |".format(**row)
        for row in sorted(figures, key=lambda row: row["fault"])
    )
    jobs = sum(row["jobs"] for row in figures)
    requeued = sorted(s for row in figures for s in row["requeued_s"])
    claimed_again = sorted(s for row in figures for s in row["claimed_again_s"])
    return f"""\
{datetime.now(UTC):%Y-%m-%d}, `--faults {size}`, {seconds / 60:.0f} minutes, on
{describe_machine()}.
{jobs:,} acknowledged jobs in all.

| fault | times | jobs | lost | duplicated | attempts restarted |
|---|---|---|---|---|---|
{rows}

Seconds from the end of a worker, for each of the {len(requeued)} jobs it held:

| until the job | p50 | p99 | max |
|---|---|---|---|
| is pending again | {spread(requeued)} |
| is claimed again, behind other pending jobs | {spread(claimed_again)} |

Seconds from the moment that a replica is told to take over from its primary, which is:

| until | {" | ".join(row["cause"] for row in outages)} |
|---|{"---|" * len(outages)}
{chr(10).join(_outage_row(until, key, outages) for key, until in _OUTAGE.items())}"""


def _outage_row(until: str, key: str, outages: Sequence[dict[str, Any]]) -> str:
    return "| {} | {} |".format(until, " | ".join(f"{row['seconds'][key]:.1f}" for row in outages))


def spread(seconds: Sequence[float]) -> str:
    """Return three cells."""
    return " | ".join(f"{percentile(seconds, share):.1f}" for share in (0.5, 0.99, 1))


def write(text: str) -> None:
    """Replace what stands between the markers."""
    before, _, rest = PAGE.read_text().partition(BEGIN)
    after = rest.partition(END)[2]
    PAGE.write_text(f"{before}{BEGIN}\n{text}\n{END}{after}")


if __name__ == "__main__":
    main()
