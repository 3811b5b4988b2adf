"""The figures of a run as tables and pictures, for docs/benchmarks.md."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import matplotlib as mpl
import matplotlib.pyplot as plt

from benchmarks.queue.report import put, table, verdict
from benchmarks.system.soak import Soak
from benchmarks.system.trial import Opening, Trial

mpl.use("svg")
mpl.rcParams["svg.hashsalt"] = "automatch"

IMAGES = Path(__file__).parents[2] / "docs" / "images"
_PARTS = {
    "server": "#1f6f43",
    "worker": "#2f6fb3",
    "database": "#b37a1f",
    "benchmark": "#8a8a8a",
}
_NAMES = {"benchmark": "generator"}


def trials_text(trials: Sequence[Trial], said: str) -> str:
    """Return the trials of one part as Markdown."""
    head = [
        "feeds", "people of the school", "faces in all", "uploads a second",
        "answer p50 / p95 / p99", "upload to screen", "commit to client", "told",
        "cores: server, worker, database, generator", "MiB: server, worker, database",
        "jobs left, done after", "saturated",
    ]  # fmt: skip
    rows = [
        [
            f"{one.feeds:,}", f"{one.people:,}", f"{one.faces:,}", f"{one.rate:g}",
            str(one.answer_ms), str(one.screen_ms), str(one.commit_ms), f"{one.told:,}",
            ", ".join(f"{one.cores[part]:.2f}" for part in _PARTS),
            ", ".join(f"{one.memory_mib[part]:.0f}" for part in list(_PARTS)[:3]),
            f"{one.waiting}, {one.drained_s:.0f} s", _saturated(one),
        ]
        for one in trials
    ]  # fmt: skip
    return f"*{said}; milliseconds; load before: {_loads(trials)}.*\n\n{table(head, rows)}"


def openings_text(openings: Sequence[Opening]) -> str:
    """Return what feeds take as Markdown."""
    head = [
        "feeds opened", "until each was told where it is, p50 / p95 / p99 (ms)",
        "CPU each (ms): server, database", "KiB each", "all open and idle, cores: server, database",
    ]  # fmt: skip
    rows = [
        [
            f"{one.opened:,} of {one.feeds:,}", str(one.opening_ms),
            f"{one.cpu_ms_each['server']:.1f}, {one.cpu_ms_each['database']:.1f}",
            f"{one.kib_each:.1f}",
            f"{one.idle_cores['server']:.3f}, {one.idle_cores['database']:.3f}",
        ]
        for one in openings
        if one.opened
    ]  # fmt: skip
    return table(head, rows) if rows else ""


def soak_text(found: Soak, said: str) -> str:
    """Return the soak as Markdown."""
    rows = [
        [
            one.name, f"{one.values[0]:,.0f} {one.unit}".strip(),
            f"{one.values[-1]:,.0f} {one.unit}".strip(),
            f"{one.rise:+,.1f} {one.unit}".strip(), verdict(one.flat),
        ]
        for one in found.series
    ]  # fmt: skip
    return (
        f"*{said}; {found.minutes[-1]:.0f} minutes, {found.feeds:,} feeds, {found.rate:g} uploads a"
        f" second: {found.uploads:,} uploads, {found.refused} refused"
        f"{', jobs left at the end' * found.unfinished}.*"
        f" Upload to screen, p50 / p95 / p99: {found.screen_ms['first fifth']} ms in the first"
        f" fifth, {found.screen_ms['last fifth']} ms in the last.\n\n"
        + table(["", "first", "last", "rise after the first fifth", "flat"], rows)
    )


def write(part: str, text: str, image: str | None = None) -> None:
    """Put a part in its place."""
    put(f"system-{part}", f"{text}\n\n![]({image})" if image else text)


def draw_grid(trials: Sequence[Trial], path: Path = IMAGES / "system.svg") -> str:
    """Draw times and processors against the rate; return the picture's address."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.6), layout="constrained")
    levels = sorted({one.feeds for one in trials if one.screen_ms})
    for feeds, colour in zip(levels, list(_PARTS.values()), strict=False):
        found = [one for one in trials if one.feeds == feeds and one.screen_ms]
        rates = [one.rate for one in found]
        left.plot(
            rates, [one.screen_ms.p50 for one in found if one.screen_ms], "o-", color=colour,
            label=f"{feeds:,} feeds",
        )  # fmt: skip
        p95 = [one.screen_ms.p95 for one in found if one.screen_ms]
        left.plot(rates, p95, "o:", color=colour)
    left.set(xlabel="uploads a second", ylabel="upload to screen, ms: p50, dotted p95")
    if any(one.screen_ms for one in trials):
        left.set_yscale("log")
        left.yaxis.set_major_formatter(_plain_number)
        left.yaxis.set_minor_formatter(_plain_number)
        left.legend()
    labels = [f"{one.feeds:,}\n{one.rate:g}/s" for one in trials]
    bottom = [0.0] * len(trials)
    for part, colour in _PARTS.items():
        heights = [one.cores[part] for one in trials]
        right.bar(labels, heights, bottom=bottom, color=colour, label=_NAMES.get(part, part))
        bottom = [low + height for low, height in zip(bottom, heights, strict=True)]
    right.set(xlabel="feeds, uploads", ylabel="cores")
    right.tick_params(axis="x", labelsize=7)
    right.margins(y=0.2)
    right.legend(loc="upper left", ncols=2)
    return _save(figure, path)


def draw_soak(found: Soak, path: Path = IMAGES / "soak.svg") -> str:
    """Draw memory, files and connections over time; return the picture's address."""
    figure, axes = plt.subplots(1, 3, figsize=(9, 3), layout="constrained")
    kinds = ("memory", "files", "connections")
    for kind, one in zip(kinds, axes, strict=True):
        for series in found.series:
            name, _, part = series.name.partition(", ")
            if name == kind:
                colour = _PARTS.get(part, _PARTS["server"])
                one.plot(found.minutes, series.values, color=colour, label=part or name)
        one.set(xlabel="minutes", ylabel="memory, MiB" if kind == "memory" else kind)
        one.set_ylim(bottom=0)
        one.legend()
    return _save(figure, path)


def _plain_number(value: float, _: object) -> str:
    return f"{value:,g}"


def _save(figure: plt.Figure, path: Path) -> str:
    for axes in figure.axes:
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(alpha=0.25)
    figure.savefig(path, metadata={"Date": None})
    plt.close(figure)
    return f"images/{path.name}"


def _saturated(one: Trial) -> str:
    refused = sum(one.refused.values())
    return one.saturated + (f"; {refused} refused" if refused else "")


def _loads(trials: Sequence[Trial]) -> str:
    loads = [one.load_before for one in trials]
    return f"{min(loads):.1f} to {max(loads):.1f}"
