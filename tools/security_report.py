"""Try what is known to be tried against such a system, and write docs/security-report.md.

Runs the tests that `security_classes.toml` names, by kind of attack, and counts the cases: tests,
with each set of parameters and each subtest for itself. A case that fails is a finding. Then the
load of `benchmarks.bad_beside_good` is run. `make security` calls it.

    .venv/bin/python -m tools.security_report [--dry-run] [--without-load]
"""

from __future__ import annotations

import argparse
import re
import sys
import tomllib
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "security-report.md"
POLICY = ROOT / "SECURITY.md"
CLASSES = Path(__file__).with_name("security_classes.toml")


@dataclass(frozen=True)
class Row:
    """A kind of attack, or a promise."""

    group: str
    title: str
    tests: tuple[str, ...]
    """Below `tests/`: a file, or one function of it after two colons."""

    def includes(self, node: str) -> bool:
        """Tell whether a test, named as pytest does, is one of them."""
        name = node.partition("[")[0].removeprefix("tests/")
        return any(name == test or name.startswith(f"{test}::") for test in self.tests)


class Collector:
    """Counts the cases that were tried, by the test they are of."""

    def __init__(self) -> None:
        self.passed: Counter[str] = Counter()
        self.failed: Counter[str] = Counter()
        self.skipped: Counter[str] = Counter()

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Count a test or a subtest; what breaks before or after a test is a failure of it."""
        if report.failed:
            self.failed[report.nodeid] += 1
        elif report.skipped:
            self.skipped[report.nodeid] += 1
        elif report.when == "call":
            self.passed[report.nodeid] += 1


def read_classes() -> list[Row]:
    """Return the kinds of attack in the order of the file."""
    entries = tomllib.loads(CLASSES.read_text("utf-8"))["class"]
    return [Row(entry["group"], entry["title"], tuple(entry["tests"])) for entry in entries]


def read_promises() -> list[Row]:
    """Return the promises with the tests that show them."""
    titles = {
        int(number): title
        for number, title in re.findall(
            r"^(\d+)\. \*\*(.+?)\*\*", POLICY.read_text("utf-8"), re.MULTILINE
        )
    }
    entries = tomllib.loads(CLASSES.read_text("utf-8"))["promise"]
    return [
        Row("", f"{entry['number']}. {titles[entry['number']]}", tuple(entry["tests"]))
        for entry in entries
    ]


def run_tests(rows: list[Row]) -> Collector:
    """Run every test that a row names, once."""
    collector = Collector()
    named = sorted({f"tests/{test}" for row in rows for test in row.tests})
    # A file that is run whole needs none of its functions by name.
    wanted = [test for test in named if "::" not in test or test.partition("::")[0] not in named]
    # In the root, as the suite is run: tests are named relative to it.
    pytest.main(["--rootdir", str(ROOT), "-q", *(str(ROOT / test) for test in wanted)], [collector])
    return collector


def _compose_table(rows: list[Row], collector: Collector) -> str:
    lines = ["| | Cases | Findings | Tests |", "|---|---|---|---|"]
    group = ""
    for row in rows:
        passed, failed, skipped = (
            sum(number for node, number in counted.items() if row.includes(node))
            for counted in (collector.passed, collector.failed, collector.skipped)
        )
        if row.group != group:
            group = row.group
            lines.append(f"| **{group}** | | | |")
        tried = f"{passed + failed:,}" + (f" ({skipped} skipped)" if skipped else "")
        tests = ", ".join(f"`{test}`" for test in row.tests)
        lines.append(f"| {row.title} | {tried} | {failed} | {tests} |")
    return "\n".join(lines)


def compose_report(classes: list[Row], promises: list[Row], collector: Collector, load: str) -> str:
    """Return the page."""
    cases = sum(collector.passed.values()) + sum(collector.failed.values())
    return f"""\
# Security report

Made by `make security` on {datetime.now(UTC):%Y-%m-%d}; edit nothing here by hand. A row is a
kind of attack, a case is one input or situation of it that a test tries, a finding is a case that
ended otherwise than promised. Tests are named below `tests/`; one case may count in two rows.
What is promised stands in [SECURITY.md](../SECURITY.md).

**{cases:,} cases tried, {sum(collector.failed.values())} findings.**

## Kinds of attack

{_compose_table(classes, collector)}

## Promises

{_compose_table(promises, collector)}

## Bad requests beside good ones

{load}
"""


def main() -> int:
    """Write the page, or with `--dry-run` print it; return 1 where there is a finding."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--dry-run", action="store_true", help="print, and leave the page alone")
    parser.add_argument("--without-load", action="store_true", help="run the tests alone")
    options = parser.parse_args()
    classes, promises = read_classes(), read_promises()
    collector = run_tests([*classes, *promises])
    load = "Not measured."
    if not options.without_load:
        # Only now: pytest wants to be the first to import the modules of the tests.
        from benchmarks.bad_beside_good import measure_load

        load = measure_load()
    text = compose_report(classes, promises, collector, load)
    if options.dry_run:
        print(text)
    else:
        PAGE.write_text(text, "utf-8")
    return 1 if collector.failed else 0


if __name__ == "__main__":
    sys.exit(main())
