"""What the doctor found, as a person reads it on a terminal."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Sequence

from rich import box
from rich.console import Console, Group
from rich.table import Table
from rich.text import Text

from automatch.ops.doctor.check import CheckResult, Health

_WIDE = 200
"""Columns where there is no terminal: nothing is cut off for whoever reads a pipe."""
_MANY = 5
"""So many checks that one reason keeps from looking are one line."""
_STYLES = {
    Health.OK: "green",
    Health.WARN: "yellow",
    Health.FAIL: "bold red",
    Health.SKIPPED: "bright_black",
}


def print_examined(examined: Sequence[CheckResult]) -> None:
    """Print a line a check, and below it what to do."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("", no_wrap=True)
    table.add_column("check", no_wrap=True)
    table.add_column("found", overflow="fold")
    unseen = Counter(one.result.says for one in examined if one.result.health is Health.SKIPPED)
    for one in examined:
        result = one.result
        if result.health is Health.SKIPPED and unseen[result.says] >= _MANY:
            continue
        # Names of tables, schools and folders are what people typed: no markup.
        lines = [Text(_plain(result.says))]
        if result.fix is not None and result.health is not Health.OK:
            lines.append(Text(f"-> {_plain(result.fix)}", style="cyan"))
        table.add_row(
            Text(result.health.value, style=_STYLES[result.health]),
            Text(one.check.name),
            Group(*lines),
        )
    for reason, count in unseen.items():
        if count >= _MANY:
            table.add_row(
                Text(Health.SKIPPED.value, style=_STYLES[Health.SKIPPED]),
                Text(f"{count} checks"),
                Text(_plain(reason)),
            )
    console = Console(highlight=False, width=None if sys.stdout.isatty() else _WIDE)
    console.print(table)
    console.print(Text(_summary(examined)))


def _summary(examined: Sequence[CheckResult]) -> str:
    counts = Counter(one.result.health for one in examined)
    told = ", ".join(f"{counts[health]} {health.value}" for health in Health if counts[health])
    repairable = sum(one.result.repair is not None for one in examined)
    hint = f" `automatch doctor --fix` puts {repairable} right." if repairable else ""
    return f"{len(examined)} checks: {told}.{hint}"


def _plain(text: str) -> str:
    # What would move the cursor of a terminal.
    return "".join(char if char.isprintable() else "?" for char in text)
