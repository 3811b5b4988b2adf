"""Which step of growth carries how many people, on how many machines, and what is used up first."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from benchmarks.growth.demand import Demand, demand_of, load_of
from benchmarks.growth.inputs import Assumptions, Costs
from benchmarks.growth.simulation import waiting_s

_MOST = 10**12
_NOTIFICATIONS_UPLOAD = 2
"""One wakes workers or the uploader's pages, one the feeds of those who were found."""
_CORES_WORKER = 2
"""That one worker process keeps busy."""

STEPS = (
    "one machine, one server process",
    "several server processes on it",
    "workers on machines of their own, photos in a bucket",
    "Postgres on a machine of its own, further servers",
    "replicas for pages",
    "Citus: schools on nodes",
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


def with_costs(growth: Growth, **changes: float) -> Growth:
    """Return the model with other costs."""
    return replace(growth, costs=replace(growth.costs, **changes))
