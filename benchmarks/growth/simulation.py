"""A day of uploads, one after the other, and a formula for how long they wait.

The formula is what the model of growth promises; the simulation is how it is checked.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable, Iterator

import numpy as np

DAY_S = 86_400.0
_BUSIEST_S = 20 * 3600.0
_HALF_HOUR_S = 1_800.0


def waiting_s(rate: float, servers: int, mean_s: float, cv: float, share: float = 0.95) -> float:
    """Return how long this share of all that come waits at most.

    Whoever comes finds all busy with the probability of Erlang's formula and waits exponentially
    then; times that vary less than exponentially make waits shorter (Allen and Cunneen).
    """
    offered = rate * mean_s
    if offered >= servers:
        return math.inf
    blocked = 1.0
    for number in range(1, servers + 1):
        blocked = offered * blocked / (number + offered * blocked)
    busy = blocked / (1 - offered / servers * (1 - blocked))
    if busy <= 1 - share:
        return 0.0
    return math.log(busy / (1 - share)) * (1 + cv**2) / 2 * mean_s / (servers - offered)


def day_shape(peak: float) -> Callable[[float], float]:
    """Return a day whose mean is 1 and whose busiest moment is *peak*, as a function of time."""
    low, high = 0.0, 200.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if _top(middle) < peak else (low, middle)
    steep, mean = low, _mean(low)
    return lambda at: (
        math.exp(steep * (math.cos(2 * math.pi * (at - _BUSIEST_S) / DAY_S) - 1)) / mean
    )


def simulate(
    rate_at: Callable[[float], float],
    most: float,
    seconds: float,
    *,
    servers: int,
    mean_s: float,
    cv: float,
    seed: int,
) -> Iterator[tuple[float, float]]:
    """Give when each upload came and how long it waited.

    Args:
        most: what `rate_at` never exceeds.
    """
    dice = np.random.default_rng(seed)
    spread = math.sqrt(math.log(1 + cv**2))
    free = [0.0] * servers
    at = 0.0
    while True:
        at += dice.exponential(1 / most)
        if at >= seconds:
            return
        if dice.random() * most > rate_at(at):
            continue
        began = max(at, heapq.heappop(free))
        took = mean_s * math.exp(dice.normal(-(spread**2) / 2, spread)) if cv else mean_s
        heapq.heappush(free, began + took)
        yield at, began - at


def busiest_p95_s(
    uploads: float,
    *,
    peak: float,
    servers: int,
    mean_s: float,
    cv: float,
    days: int = 1,
    seed: int = 0,
) -> float:
    """Return the wait of 95 of 100 uploads in the busiest hours of simulated days."""
    shape, mean = day_shape(peak), uploads / DAY_S
    waits = [
        waited
        for day in range(days)
        for at, waited in simulate(
            lambda at: mean * shape(at), mean * peak, DAY_S,
            servers=servers, mean_s=mean_s, cv=cv, seed=seed + day,
        )
        if abs(at - _BUSIEST_S) < _HALF_HOUR_S
    ]  # fmt: skip
    return float(np.percentile(waits, 95)) if waits else 0.0


def _top(steep: float) -> float:
    return 1 / _mean(steep)


def _mean(steep: float) -> float:
    """Return the mean of exp(steep (cos t - 1)) over a turn."""
    turns = np.linspace(0, 2 * np.pi, 4096, endpoint=False)
    return float(np.exp(steep * (np.cos(turns) - 1)).mean())
