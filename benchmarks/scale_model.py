"""What one machine carries, what is used up first, and when which step is due: a model.

Costs are measured and assumptions are named; both are in `scale_inputs.json` and are printed with
their source. The model multiplies them out: for so many people, what the busiest moment of a day
takes of each part, and how many machines that is. A simulated day checks how long uploads wait.

    .venv/bin/python -m benchmarks.scale_model [--people 250000] [--cores 4 --gib 16]
    .venv/bin/python -m benchmarks.scale_model --refresh system.json --write-docs
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks import scale_inputs
from benchmarks.queue.report import figure, table, verdict
from benchmarks.scale_inputs import Assumptions, Costs, Input
from benchmarks.scale_simulation import DAY_S, busiest_p95_s, waiting_s

_PAGE = Path(__file__).parents[1] / "docs" / "growth.md"
_GIB = 1024**3
_SIZES = (1_000, 10_000, 100_000, 1_000_000, 10_000_000, 100_000_000)
_MOST = 10**12
_NOTIFICATIONS_UPLOAD = 2
"""One wakes workers or the uploader's pages, one the feeds of those who were found."""
_CORES_WORKER = 2
"""That one worker process keeps busy."""
_SIMULATED = 60_000
"""Uploads of simulated days: enough for a steady p95, and a second of computing."""


STEPS = (
    "one machine, one server process",
    "several server processes on it",
    "workers on machines of their own, photos in a bucket",
    "Postgres on a machine of its own, further servers",
    "replicas for pages",
    "Citus: schools on nodes",
)


@dataclass(frozen=True, slots=True)
class Demand:
    """The busiest moment of a day of so many people; all rates are of a second."""

    people: float
    uploads_day: float
    uploads: float
    feeds: float
    events: float
    openings: float
    pages: float
    faces: float
    candidates: float


def demand_of(people: float, assumed: Assumptions) -> Demand:
    """Return what so many people ask for."""
    uploads_day = people * assumed.uploads_person_day
    uploads = uploads_day / DAY_S * assumed.peak
    feeds = people * assumed.open_share
    openings = feeds / (assumed.visit_minutes * 60)
    return Demand(
        people=people,
        uploads_day=uploads_day,
        uploads=uploads,
        feeds=feeds,
        # Whoever uploads watches; whoever is found may.
        events=uploads * (1 + assumed.matches_upload * assumed.open_share),
        openings=openings,
        pages=openings * assumed.pages_visit,
        faces=people * assumed.photos_person,
        # Half of a school, and no school is larger than everybody.
        candidates=min(assumed.school_people, people) * assumed.photos_person / 2,
    )


@dataclass(frozen=True, slots=True)
class Load:
    """Cores that are busy in the busiest moment, and memory."""

    server: float
    worker: float
    search: float
    """Of the database, for comparing: what shards take over."""
    pages: float
    """Of the database, for pages of feeds: what replicas take over."""
    rest: float
    """Of the database, for everything else."""
    feeds_gib: float
    index_gib: float
    log_mb_s: float


def load_of(demand: Demand, costs: Costs) -> Load:
    """Return what a demand takes."""
    thousands = demand.uploads * demand.candidates / 1000
    return Load(
        server=(
            demand.uploads * costs.server_ms_upload
            + demand.events * costs.server_ms_event
            + demand.openings * costs.server_ms_opening
            + demand.pages * costs.server_ms_page
            + demand.feeds * costs.server_us_idle / 1000
        )
        / 1000,
        worker=(demand.uploads * costs.worker_ms_photo + thousands * costs.worker_ms_1000_people)
        / 1000,
        search=thousands * costs.database_ms_1000_people / 1000,
        pages=demand.pages * costs.database_ms_page / 1000,
        rest=(
            demand.uploads * costs.database_ms_upload
            + demand.events * costs.database_ms_event
            + demand.openings * costs.database_ms_opening
            + demand.feeds * costs.database_us_idle / 1000
        )
        / 1000,
        feeds_gib=demand.feeds * costs.server_kib_feed * 1024 / _GIB,
        index_gib=demand.faces * costs.index_bytes_face / _GIB,
        log_mb_s=demand.uploads * costs.wal_bytes_upload / 1e6,
    )


@dataclass(frozen=True, slots=True)
class Machine:
    cores: float
    gib: float


@dataclass(frozen=True, slots=True)
class Box:
    """A part of an installation on machines of one kind."""

    role: str
    machine: Machine
    uses: dict[str, float]
    """What is used of one machine's limits, each as a share of what may be; over 1 is too much."""
    can_grow: bool = False
    """Whether further machines help."""

    @property
    def machines(self) -> int:
        return max(math.ceil(max(self.uses.values())), 1) if self.can_grow else 1

    @property
    def first(self) -> str:
        """What is used up first."""
        return max(self.uses, key=lambda name: self.uses[name])


@dataclass(frozen=True, slots=True)
class Growth:
    """The model: costs and assumptions, and the machine that it begins with."""

    costs: Costs
    assumed: Assumptions
    machine: Machine

    def boxes(self, step: int, people: float) -> list[Box]:
        """Return what a step is made of for so many people."""
        demand = demand_of(people, self.assumed)
        load = load_of(demand, self.costs)
        node = Machine(self.assumed.node_cores, self.assumed.node_gib)
        database = load.search + load.pages + load.rest
        index = load.index_gib + self.costs.database_mib / 1024
        processes = max(
            load.server / self.assumed.full, demand.feeds / self.assumed.process_feeds, 1
        )
        server_gib = load.feeds_gib + math.ceil(processes) * self.costs.server_mib / 1024
        worker_gib = (
            max(math.ceil(load.worker / self.assumed.full / _CORES_WORKER), 1)
            * self.costs.worker_mib
            / 1024
        )
        shared = {
            "writing the log": load.log_mb_s / self.assumed.log_mb_s,
            "commits that notify": demand.uploads
            * _NOTIFICATIONS_UPLOAD
            / self.costs.notifying_commits_s,
        }
        if step <= 1:
            cores = load.server + load.worker + database
            one = shared | self._uses(self.machine, cores, server_gib + worker_gib + index)
            if step == 0:
                one |= {
                    "the one core of a server process": load.server / self.assumed.full,
                    "connections of a server process": demand.feeds / self.assumed.process_feeds,
                }
            return [Box("everything", self.machine, one)]
        worker = Box("workers", node, self._uses(node, load.worker, worker_gib), can_grow=True)
        if step == 2:
            uses = shared | self._uses(self.machine, load.server + database, server_gib + index)
            return [Box("server and Postgres", self.machine, uses), worker]
        server = Box("servers", node, self._uses(node, load.server, server_gib), can_grow=True)
        others = [server, worker]
        if step >= 4:
            # Each replica replays all that is written, which is cheap, and holds what is read.
            others.append(Box("replicas", node, self._uses(node, load.pages, 1), can_grow=True))
        if step == 5:
            nodes = Box("Citus nodes", node, self._uses(node, load.search, index), can_grow=True)
            uses = shared | self._uses(node, load.rest, self.costs.database_mib / 1024)
            return [Box("Citus coordinator", node, uses), nodes, *others]
        cores = database if step == 3 else load.search + load.rest
        return [Box("Postgres", node, shared | self._uses(node, cores, index)), *others]

    def _uses(self, machine: Machine, cores: float, gib: float) -> dict[str, float]:
        return {
            "processors": cores / (machine.cores * self.assumed.full),
            "memory": gib / (machine.gib * self.assumed.memory_full),
        }

    def fits(self, step: int, people: float) -> bool:
        """Whether what cannot grow is enough."""
        return all(
            max(box.uses.values()) <= 1 for box in self.boxes(step, people) if not box.can_grow
        )

    def capacity(self, step: int) -> float:
        """Return how many people a step carries."""
        low, high = 1.0, float(_MOST)
        while high / low > 1.0001:
            middle = math.sqrt(low * high)
            low, high = (middle, high) if self.fits(step, middle) else (low, middle)
        return low

    def limit(self, step: int) -> tuple[float, str]:
        """Return how many people a step carries, and what is used up then."""
        people = self.capacity(step)
        fixed = [box for box in self.boxes(step, people) if not box.can_grow]
        fullest = max(fixed, key=lambda box: box.uses[box.first])
        return people, f"{fullest.first}, {fullest.role}"

    def due(self) -> list[tuple[int, float, str]]:
        """Return the steps that are worth taking, from how many people on, and why."""
        found, most, why = [(0, 0.0, "")], *self.limit(0)
        for step in range(1, len(STEPS)):
            people, first = self.limit(step)
            if people > most * 1.05:
                found.append((step, most, why))
                most, why = people, first
        return found

    def step_for(self, people: float) -> int:
        """Return the first step that carries so many; the last one where none does."""
        steps = (step for step, _, _ in self.due() if self.fits(step, people))
        return next(steps, len(STEPS) - 1)

    def promised_wait_s(self, people: float) -> float:
        """Return how long 95 of 100 uploads wait for a worker at most, in the busiest moment."""
        demand, mean_s = self.photo_of(people)
        return waiting_s(
            demand.uploads, self.slots(people), mean_s, self.assumed.photo_time_cv, 0.95
        )

    def photo_of(self, people: float) -> tuple[Demand, float]:
        """Return the demand, and the seconds that a worker takes for a photo."""
        demand = demand_of(people, self.assumed)
        compared = demand.candidates / 1000 * self.costs.worker_ms_1000_people
        return demand, (self.costs.worker_ms_photo + compared) / 1000

    def slots(self, people: float) -> int:
        """Return how many photos are looked at at once."""
        demand, mean_s = self.photo_of(people)
        # On one machine workers have what others leave; elsewhere they are as many as it takes.
        return max(math.ceil(demand.uploads * mean_s / self.assumed.full), 1)


def price(boxes: Sequence[Box]) -> tuple[float, float]:
    """Return cores and GiB of memory of all machines."""
    return (
        sum(box.machines * box.machine.cores for box in boxes),
        sum(box.machines * box.machine.gib for box in boxes),
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.scale_model",
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
        taken = scale_inputs.refresh(
            json.loads(options.refresh.read_text("utf-8")), only=options.take
        )
        print(f"Taken from {options.refresh.name}: {', '.join(taken)}")
    costs, assumed, inputs = scale_inputs.load()
    growth = Growth(costs, assumed, Machine(options.cores, options.gib))
    parts = {
        "one-machine": one_machine_text(growth),
        "steps": steps_text(growth),
        "sizes": sizes_text(growth, options.people),
        "waits": waits_text(growth),
        "inputs": inputs_text(inputs),
    }
    for name, text in parts.items():
        print(f"\n{text}")
        if options.write_docs:
            _put(f"model-{name}", text)


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


def with_costs(growth: Growth, **changes: float) -> Growth:
    """Return the model with other costs."""
    return replace(growth, costs=replace(growth.costs, **changes))


def _put(part: str, text: str) -> None:
    page = _PAGE.read_text("utf-8")
    begin, end = f"<!-- {part}: begin -->", f"<!-- {part}: end -->"
    before, found, rest = page.partition(begin)
    _, closed, after = rest.partition(end)
    if not (found and closed):
        raise ValueError(f"{_PAGE.name} has no place for {part}")
    _PAGE.write_text(f"{before}{begin}\n{text}\n{end}{after}", "utf-8")


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


if __name__ == "__main__":
    main()
