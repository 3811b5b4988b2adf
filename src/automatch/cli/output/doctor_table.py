"""The table of the doctor's results."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from rich.text import Text

from automatch.cli.output.tables import Table, note, print_tables
from automatch.model.printable import printable
from automatch.ops.doctor.check import CheckResult, Health

_COLLAPSE_FROM = 5
"""This many checks that are skipped for the same reason are shown as one line."""
_STYLES = {
    Health.OK: "green",
    Health.WARN: "yellow",
    Health.FAIL: "bold red",
    Health.SKIPPED: "bright_black",
}


def print_results(results: Sequence[CheckResult]) -> None:
    """Print one line per check, and below it how to fix the problem."""
    skipped = Counter(
        checked.result.message for checked in results if checked.result.health is Health.SKIPPED
    )
    rows: list[tuple[object, ...]] = []
    for checked in results:
        result = checked.result
        if result.health is Health.SKIPPED and skipped[result.message] >= _COLLAPSE_FROM:
            continue
        message = Text(printable(result.message))
        if result.fix is not None and result.health is not Health.OK:
            message.append("\n")
            message.append(f"-> {printable(result.fix)}", style="cyan")
        rows.append((_health(result.health), checked.check.name, message))
    for reason, count in skipped.items():
        if count >= _COLLAPSE_FROM:
            rows.append((_health(Health.SKIPPED), f"{count} checks", reason))
    print_tables(Table(("health", "check", "result"), rows, wrapped_column="result"))
    note(f"{_summary(results)}")


def _health(health: Health) -> Text:
    return Text(health.value, style=_STYLES[health])


def _summary(results: Sequence[CheckResult]) -> str:
    counts = Counter(checked.result.health for checked in results)
    by_health = ", ".join(f"{counts[health]} {health.value}" for health in Health if counts[health])
    repairable = sum(checked.result.repair is not None for checked in results)
    hint = f" `automatch doctor --fix` can repair {repairable}." if repairable else ""
    return f"{len(results)} checks: {by_health}.{hint}"
