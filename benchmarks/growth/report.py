"""What the model says, as Markdown for docs/growth.md."""

from __future__ import annotations

import math
from collections.abc import Sequence

from benchmarks.growth.demand import demand_of, load_of
from benchmarks.growth.inputs import Input
from benchmarks.growth.model import STEPS, Growth, price
from benchmarks.growth.simulation import busiest_p95_s
from benchmarks.queue.report import figure, table, verdict

_SIMULATED = 60_000
"""Uploads of simulated days: enough for a steady p95, and a second of computing."""


def one_machine_text(growth: Growth) -> str:
    """Say what the first machine carries."""
    people, first = growth.limit(0)
    (box,) = growth.boxes(0, people)
    demand = demand_of(people, growth.assumed)
    load = load_of(demand, growth.costs)
    used = ", ".join(
        f"{name} {100 * share:.0f} %"
        for name, share in sorted(box.uses.items(), key=lambda item: -item[1])
    )
    cores = {
        "worker": load.worker,
        "server": load.server,
        "Postgres": load.search + load.pages + load.rest,
    }
    told = ", ".join(f"{part} {value:.2f}" for part, value in cores.items())
    return (
        f"A machine of {growth.machine.cores:g} cores and {growth.machine.gib:g} GiB carries"
        f" **{_round(people)} people**: {_round(demand.uploads_day)} uploads a day,"
        f" {figure(demand.uploads)} a second in the busiest moment, and {_round(demand.feeds)} open"
        f" feeds. First used up: {first.partition(',')[0]} (cores: {told}). Of what may be used:"
        f" {used}."
    )


def steps_text(growth: Growth) -> str:
    """Return the steps with their thresholds and prices as Markdown."""
    rows = []
    for step, since, why in growth.due():
        people = max(since * 1.01, 1)
        demand = demand_of(people, growth.assumed)
        carried, _ = growth.limit(step)
        cores, gib = price(growth.boxes(step, people))
        rows.append(
            [
                STEPS[step],
                f"{_round(since)} people" if since else "the start",
                why,
                f"{figure(demand.uploads)} / {_round(demand.feeds)}" if since else "",
                f"{cores:,.0f} cores, {gib:,.0f} GiB",
                f"{_round(carried)} people",
            ]
        )
    head = [
        "step", "due from", "because this is used up",
        "uploads a second / open feeds then", "price then", "carries",
    ]  # fmt: skip
    return table(head, rows)


def sizes_text(growth: Growth, sizes: Sequence[float]) -> str:
    """Return what numbers of people take as Markdown."""
    rows = []
    for people in sizes:
        demand = demand_of(people, growth.assumed)
        step = growth.step_for(people)
        boxes = growth.boxes(step, people)
        cores, gib = price(boxes)
        tables = demand.faces * (growth.costs.index_bytes_face + growth.costs.table_bytes_face)
        rows.append(
            [
                f"{people:,.0f}",
                f"{_round(demand.uploads_day)} / {figure(demand.uploads)}",
                _round(demand.feeds),
                ", ".join(f"{box.role}: {box.machines:,}" for box in boxes),
                f"{cores:,.0f}, {gib:,.0f} GiB",
                f"{_size(tables)} / {_size(demand.faces * growth.costs.photo_bytes)}",
                f"{figure(load_of(demand, growth.costs).log_mb_s)} MB/s",
                "" if growth.fits(step, people) else "**more than the last step carries**",
            ]
        )
    head = [
        "people", "uploads a day / a second at the peak", "open feeds", "machines",
        "cores, memory", "disk: database / photos", "log", "",
    ]  # fmt: skip
    return table(head, rows)


def waits_text(growth: Growth) -> str:
    """Compare the promised wait with a simulated day, as Markdown."""
    rows = [_wait_row(growth, people) for people in (100_000, 1_000_000, 10_000_000)]
    return table(
        ["people", "photos looked at at once", "promised p95 wait", "simulated", "kept"], rows
    )


def _wait_row(growth: Growth, people: float) -> list[str]:
    demand, mean_s = growth.photo_of(people)
    promised, servers = growth.promised_wait_s(people), growth.slots(people)
    cv = growth.assumed.photo_time_cv
    uploads = min(demand.uploads_day, _SIMULATED)
    # Time runs slower where there is more than can be simulated: waits stretch with it.
    slower = demand.uploads_day / uploads
    simulated = (
        busiest_p95_s(
            uploads,
            peak=growth.assumed.peak,
            servers=servers,
            mean_s=mean_s * slower,
            cv=cv,
            days=max(round(_SIMULATED / uploads), 1),
        )
        / slower
    )
    kept = simulated <= promised + 0.1 * mean_s
    return [
        f"{people:,}",
        f"{servers:,}",
        f"{1000 * promised:,.0f} ms",
        f"{1000 * simulated:,.0f} ms",
        verdict(kept),
    ]


def inputs_text(parts: dict[str, dict[str, Input]]) -> str:
    """Return every input with its source as Markdown."""
    measured, assumed = parts["measured"], parts["assumed"]
    runs = list(dict.fromkeys(_run_of(each) for each in measured.values()))
    told = [f"{number}. {run}." for number, run in enumerate(runs, 1)]
    rows = [
        [each.what, _value(each), f"run {runs.index(_run_of(each)) + 1}"]
        for each in measured.values()
    ] + [[each.what, _value(each), each.source] for each in assumed.values()]
    head = ["input", "value", "measured by, or assumed because"]
    return "\n".join([*told, "", table(head, rows)])


def _run_of(each: Input) -> str:
    return f"{each.source}, {each.date}, {each.machine}"


def _value(each: Input) -> str:
    return f"{figure(each.value)} {each.unit}".strip()


def _round(value: float) -> str:
    """Write two digits that count: more would be a lie."""
    if value < 1:
        return "0"
    step = 10 ** max(math.floor(math.log10(value)) - 1, 0)
    return f"{round(value / step) * step:,}"


def _size(amount: float) -> str:
    for unit in ("MB", "GB", "TB"):
        if amount < 1e3 * 1e6:
            return f"{figure(amount / 1e6)} {unit}"
        amount /= 1e3
    return f"{figure(amount / 1e6)} PB"
