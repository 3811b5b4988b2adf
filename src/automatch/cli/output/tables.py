"""Tables: fitted to the terminal, and tab-separated columns where stdout is none."""

from __future__ import annotations

import sys
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from automatch.cli.output.echo import echo, echo_tab_separated
from automatch.model.printable import printable

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderableType
    from rich.text import Text

_GAP = 2
_MIN_TEXT_WIDTH = 24
"""Narrower columns of sentences are not read: the rows are shown one below the other instead."""


@dataclass(frozen=True)
class Table:
    """Rows of cells, of which only those of one column may be broken, between words.

    Where a terminal is too narrow, `optional_columns` are left out, the first of them first. Where
    that is not enough, each row becomes lines of a column's name and a cell.
    """

    columns: Sequence[str]
    """The heads; without any, each row is a name and a value."""
    rows: Sequence[Sequence[object]]
    wrapped_column: str = ""
    """The column of sentences."""
    optional_columns: Sequence[str] = ()
    if_empty: str = ""
    """Said in place of a table without rows."""

    @classmethod
    def of_fields(cls, fields: Mapping[str, object]) -> Table:
        """Return a table of names and values."""
        return cls((), list(fields.items()))

    def __rich_console__(self, _: Console, options: ConsoleOptions) -> Iterator[RenderableType]:
        from rich.text import Text

        rows = [[_as_text(cell) for cell in row] for row in self.rows]
        if not self.columns:
            yield _records([rows])
            return
        for count in range(len(self.optional_columns) + 1):
            left_out = self.optional_columns[:count]
            if widths := self._widths(rows, left_out, options.max_width):
                yield self._grid(rows, widths)
                if left_out:
                    names = ", ".join(name for name in self.columns if name in left_out)
                    yield Text(f"Left out for lack of width: {names}.", style="bright_black")
                return
        heads = [Text(name, style="bold") for name in self.columns]
        yield _records([list(zip(heads, row, strict=True)) for row in rows])

    def _widths(
        self, rows: Sequence[Sequence[Text]], left_out: Collection[str], max_width: int
    ) -> dict[int, int] | None:
        """Return the width of each column, or None when they do not fit."""
        from rich.cells import cell_len

        widths: dict[int, int] = {}
        least = {}
        for index, name in enumerate(self.columns):
            if name in left_out:
                continue
            lines = [name, *(line for row in rows for line in row[index].plain.split("\n"))]
            widths[index] = max(map(cell_len, lines))
            if name == self.wrapped_column:
                words = (cell_len(word) for line in lines for word in line.split())
                least[index] = max(min(_MIN_TEXT_WIDTH, widths[index]), *words)
        max_width -= _GAP * (len(widths) - 1)
        for index, width in least.items():
            too_much = max(sum(widths.values()) - max_width, 0)
            widths[index] = max(width, widths[index] - too_much)
        return widths if sum(widths.values()) <= max_width else None

    def _grid(self, rows: Iterable[Sequence[Text]], widths: Mapping[int, int]) -> RenderableType:
        from rich import box
        from rich.table import Table as Grid

        grid = Grid(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0))
        for index, width in widths.items():
            grid.add_column(self.columns[index], width=width)
        for row in rows:
            grid.add_row(*(row[index] for index in widths))
        return grid


def print_tables(*tables: Table) -> None:
    """Print tables with an empty line between them; where stdout is no terminal, for programs."""
    if sys.stdout.isatty():
        stdout_console().print(in_order(*tables))
        return
    for number, table in enumerate(tables):
        if number:
            echo()
        echo_tab_separated([table.columns] if table.columns else [])
        echo_tab_separated([[str(cell) for cell in row] for row in table.rows])
        if table.if_empty and not table.rows:
            note(table.if_empty)


def in_order(*tables: Table) -> RenderableType:
    """Return what a terminal shows of tables, with an empty line between them."""
    from rich.console import Group

    shown: list[RenderableType] = []
    for table in tables:
        shown += ["", table if table.rows else table.if_empty]
    return Group(*shown[1:])


def note(text: str, *, fg: str | None = None) -> None:
    """Print a sentence about a table: below it on a terminal, else on stderr."""
    if sys.stdout.isatty():
        echo(f"\n{text}", fg=fg)
    else:
        echo(text, err=True)


def stdout_console() -> Console:
    """Return the console for tables; names that people typed are shown as they are."""
    from rich.console import Console

    return Console(markup=False, highlight=False, emoji=False)


def utc(moment: datetime | None) -> str:
    """Return a time to the second in UTC, or a dash."""
    return moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S") if moment else "-"


def seconds(value: float | None) -> str:
    """Return a duration in seconds, or a dash."""
    return "-" if value is None else f"{value:.2f}"


def or_dash(value: object) -> str:
    """Return a value as text, or a dash for None."""
    return "-" if value is None else str(value)


def _as_text(cell: object) -> Text:
    from rich.text import Text

    if isinstance(cell, Text):
        return cell
    return Text(printable(str(cell), keep="\n"))


def _records(records: Iterable[Iterable[Sequence[Text]]]) -> RenderableType:
    """Return names with their values, one below the other, an empty line between records."""
    from rich.table import Table as Grid

    grid = Grid.grid(padding=(0, _GAP, 0, 0), pad_edge=False)
    grid.add_column(no_wrap=True)
    grid.add_column(overflow="fold")
    for number, record in enumerate(records):
        if number:
            grid.add_row()
        for name, value in record:
            grid.add_row(name, value)
    return grid
