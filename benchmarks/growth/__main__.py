"""What one machine carries, what is used up first, and when which step is due: a model.

Costs are measured and assumptions are named; both are in `inputs.json` and are printed with
their source. The model multiplies them out: for so many people, what the busiest moment of a day
takes of each part, and how many machines that is. A simulated day checks how long uploads wait.

    .venv/bin/python -m benchmarks.growth [--people 250000] [--cores 4 --gib 16]
    .venv/bin/python -m benchmarks.growth --refresh system.json --write-docs
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from benchmarks.growth import inputs, report
from benchmarks.growth.model import Growth, Machine

_PAGE = Path(__file__).parents[2] / "docs" / "growth.md"
_SIZES = (1_000, 10_000, 100_000, 1_000_000, 10_000_000, 100_000_000)


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.growth",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--people", type=float, nargs="+", default=_SIZES)
    parser.add_argument("--cores", type=float, default=2, help="of the first machine")
    parser.add_argument("--gib", type=float, default=24, help="of memory of the first machine")
    parser.add_argument("--refresh", type=Path, help="figures of benchmarks.system --json")
    parser.add_argument("--take", nargs="+", default=(), metavar="COST", help="only these of it")
    parser.add_argument("--write-docs", action="store_true", help="into docs/growth.md")
    options = parser.parse_args()
    if options.refresh:
        taken = inputs.refresh(json.loads(options.refresh.read_text("utf-8")), only=options.take)
        print(f"Taken from {options.refresh.name}: {', '.join(taken)}")
    costs, assumed, sources = inputs.load()
    growth = Growth(costs, assumed, Machine(options.cores, options.gib))
    parts = {
        "one-machine": report.one_machine_text(growth),
        "steps": report.steps_text(growth),
        "sizes": report.sizes_text(growth, options.people),
        "waits": report.waits_text(growth),
        "inputs": report.inputs_text(sources),
    }
    for name, text in parts.items():
        print(f"\n{text}")
        if options.write_docs:
            _put(f"model-{name}", text)


def _put(part: str, text: str) -> None:
    page = _PAGE.read_text("utf-8")
    begin, end = f"<!-- {part}: begin -->", f"<!-- {part}: end -->"
    before, found, rest = page.partition(begin)
    _, closed, after = rest.partition(end)
    if not (found and closed):
        raise ValueError(f"{_PAGE.name} has no place for {part}")
    _PAGE.write_text(f"{before}{begin}\n{text}\n{end}{after}", "utf-8")


if __name__ == "__main__":
    main()
