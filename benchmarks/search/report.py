"""The result of a run as tables and as a picture, for docs/search.md."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt
from matplotlib import ticker

from benchmarks.search.contenders import GUIDE, OURS
from benchmarks.search.measure import Result

# A picture without a screen, and the same one for the same figures.
mpl.use("svg")
mpl.rcParams["svg.hashsalt"] = "automatch"

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs" / "search.md"
IMAGE = ROOT / "docs" / "images" / "search.svg"


def tables(run: dict[str, Any]) -> str:
    """Return the run as Markdown."""
    results: list[Result] = run["results"]
    sizes = sorted({result.candidates for result in results})
    names = list(dict.fromkeys(result.name for result in results))
    lines = [
        f"{run['total']:,} faces of {run['dimensions']} dimensions, {run['queries']} searches a "
        f"size; {run['machine']}, {run['date']}. Load of others when it began: {run['load']:.1f}.",
        "",
        "Recall@20, and how many of the people to be found were returned:",
        "",
        *table(
            ["candidates", *(f"{size:,}" for size in sizes)],
            [
                [name, *(_recall(_find(results, name, size)) for size in sizes)]
                for name in names
                if "batch" not in name
            ],
        ),
        "",
        "Milliseconds a search, p50 / p99:",
        "",
        *table(
            ["candidates", *(f"{size:,}" for size in sizes)],
            [[name, *(_time(_find(results, name, size)) for size in sizes)] for name in names],
        ),
        "",
        "Searches a second, each face of the population asking equally often:",
        "",
        *table(
            ["", "1 connection", "2 connections"],
            [[name, *(f"{rate:,.0f}" for rate in rates)] for name, rates in run["rates"].items()],
        ),
        "",
        f"Building the index over all faces took {run['build_s']:.0f} s; Auto-Match has none to "
        "build. On disk: "
        + ", ".join(f"{name} {size / 1024**2:,.0f} MB" for name, size in run["sizes"].items())
        + f". In memory, faiss: {run['flat_bytes'] / 1024**2:,.0f} MB.",
    ]
    return "\n".join(lines)


def draw(run: dict[str, Any], path: Path = IMAGE) -> None:
    """Draw recall and time against the size of the school, for both designs."""
    results: list[Result] = run["results"]
    sizes = sorted({result.candidates for result in results})
    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.6), layout="constrained")
    for name, colour, label in (
        (GUIDE, "#b3261e", "one HNSW, filter after"),
        (OURS, "#1f6f43", OURS),
    ):
        found = [_find(results, name, size) for size in sizes]
        schools = [2 * size for size in sizes]
        left.plot(
            schools, [one.recall if one else None for one in found], "o-", color=colour, label=label
        )
        right.plot(schools, [one.p50_ms if one else None for one in found], "o-", color=colour)
    left.set(ylabel="recall@20", ylim=(-0.04, 1.04))
    left.legend(loc="center right")
    right.set(ylabel="median time, ms", yscale="log")
    for axes in (left, right):
        axes.set(xlabel="faces in the school", xscale="log")
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_formatter(ticker.FuncFormatter(lambda value, _: f"{value:,g}"))
            axis.set_minor_formatter(ticker.NullFormatter())
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(alpha=0.25)
    path.parent.mkdir(exist_ok=True)
    figure.savefig(path, metadata={"Date": None})
    plt.close(figure)


def write_docs(run: dict[str, Any]) -> None:
    """Put the tables of the run in their place."""
    put(f"{run['total']}x{run['dimensions']}", tables(run))


def put(part: str, text: str) -> None:
    """Write a part of the page between its two marks."""
    begin, end = f"<!-- {part}: begin -->", f"<!-- {part}: end -->"
    before, found, rest = DOCS.read_text(encoding="utf-8").partition(begin)
    _, closed, after = rest.partition(end)
    if not (found and closed):
        raise ValueError(f"{DOCS.name} has no place for {part}")
    DOCS.write_text(f"{before}{begin}\n{text}\n{end}{after}", encoding="utf-8")


def _find(results: Sequence[Result], name: str, size: int) -> Result | None:
    return next((one for one in results if (one.name, one.candidates) == (name, size)), None)


def _recall(result: Result | None) -> str:
    if result is None:
        return ""
    return f"{result.recall:.4f}, {result.rows:.1f} of {result.expected:.1f}"


def _time(result: Result | None) -> str:
    return "" if result is None else f"{result.p50_ms:.2f} / {result.p99_ms:.2f}"


def table(head: list[str], rows: list[list[str]]) -> list[str]:
    return [f"| {' | '.join(row)} |" for row in [head, ["---"] * len(head), *rows]]
