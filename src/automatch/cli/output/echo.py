"""Lines on a terminal or in a pipe; tables are in `tables.py`."""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import Iterable, Sequence
from typing import Any

import typer

from automatch.model.printable import printable


def echo(text: object = "", *, err: bool = False, nl: bool = True, fg: str | None = None) -> None:
    """Print lines, in which nothing that a stranger wrote controls the terminal."""
    shown = printable(str(text), keep="\n")
    typer.echo(typer.style(shown, fg=fg) if fg else shown, err=err, nl=nl)


def echo_json(value: Any, *, indent: int | None = 2) -> None:
    """Print *value* as JSON, in ASCII, with times as ISO 8601 writes them."""
    echo(json.dumps(value, indent=indent, default=_as_text))


def echo_tab_separated(rows: Iterable[Sequence[str]]) -> None:
    """Print one line per row, with a tab between its cells and no other."""
    for row in rows:
        typer.echo("\t".join(printable(cell.replace("\n", " ")) for cell in row))


def confirmed(question: str, *, yes: bool, option: str = "--yes") -> bool:
    """Ask a question on a terminal; without one, say which *option* answers it."""
    if yes:
        return True
    if not sys.stdin.isatty():
        echo(f"{question} Confirm with {option}.")
        return False
    # Commands ask inside of an event loop, which would take Ctrl-C and leave the question there.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        return typer.confirm(question)
    finally:
        signal.signal(signal.SIGINT, before)


def _as_text(value: Any) -> str:
    return str(value.isoformat()) if hasattr(value, "isoformat") else str(value)
