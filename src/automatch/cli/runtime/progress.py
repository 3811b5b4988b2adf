"""Progress bars, on stderr so that stdout can be piped."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)


def counting_progress() -> Progress:
    """Return a bar that counts items."""
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
    )


def download_progress() -> Progress:
    """Return a bar that counts bytes, with the speed of the download."""
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        console=Console(stderr=True),
    )


@contextmanager
def step_progress() -> Iterator[Callable[[str, int, int], None]]:
    """Show one bar after the other; give what is told the name of a step, how far, and of what."""
    bars: dict[str, TaskID] = {}
    with counting_progress() as progress:

        def report(step: str, done: int, total: int) -> None:
            if step not in bars:
                for bar in bars.values():
                    progress.update(bar, total=progress.tasks[bar].total or 1)
                    progress.update(bar, completed=progress.tasks[bar].total)
                bars[step] = progress.add_task(step, total=None)
            progress.update(bars[step], completed=done, total=total or None)

        yield report


def elapsed_progress() -> Progress:
    """Return a line that names what goes on, with the time that has passed."""
    return Progress(
        SpinnerColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.description}"),
        console=Console(stderr=True),
    )
