"""Tables on a terminal: one look for all, and cells that cannot control the terminal."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from datetime import UTC, datetime

from rich import box
from rich.console import Console
from rich.table import Table

from automatch.model.printable import printable

_PIPE_WIDTH = 250
"""Columns when stdout is no terminal, so that a pipe gets every line whole."""


def stdout_console() -> Console:
    """Return the console for tables; names that people typed are shown as they are."""
    return Console(
        markup=False,
        highlight=False,
        emoji=False,
        width=None if sys.stdout.isatty() else _PIPE_WIDTH,
    )


def make_table(
    columns: Iterable[str],
    rows: Iterable[Iterable[object]],
    *,
    header: bool = True,
    unbroken: str = "",
) -> Table:
    """Return a table of *rows*; the column *unbroken*, such as an id, is never wrapped."""
    table = Table(box=box.SIMPLE_HEAD, show_header=header, pad_edge=False)
    for column in columns:
        table.add_column(column, no_wrap=column == unbroken and header, overflow="fold")
    for row in rows:
        table.add_row(*(printable(str(cell)) for cell in row))
    return table


def utc(moment: datetime | None) -> str:
    """Return a time to the second in UTC, or a dash."""
    return moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S") if moment else "-"


def seconds(value: float | None) -> str:
    """Return a duration in seconds, or a dash."""
    return "-" if value is None else f"{value:.2f}"


def or_dash(value: object) -> str:
    """Return a value as text, or a dash for None."""
    return "-" if value is None else str(value)
