"""What is said about figures, by rules: what saturates, and whether something grows."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from automatch.ops.bench.usage import Usage

_FULL = 0.9
_WAITS_FOR_DISK = 0.2
_OTHERS = 0.4
_BEHIND_S = 1.5
_WARM_SHARE = 0.2
"""Of a soak: what fills caches for the first time is no leak."""
_RISE = 0.05


def falls_behind(waiting: int, rate: float) -> bool:
    """Whether so many jobs that wait when uploads end are more than is on its way."""
    return waiting > max(rate * _BEHIND_S, 2)


def saturated(usage: Usage, *, cores: int, server_processes: int, waiting: int, rate: float) -> str:
    """Name what is used up first: a disk, all processors, one process, or nothing."""
    behind = falls_behind(waiting, rate)
    return f"{_used_up(usage, cores, server_processes, behind)}{', backlog grows' * behind}"


def _used_up(usage: Usage, cores: int, server_processes: int, behind: bool) -> str:
    parts = {part: usage.cores(part) for part in usage.cpu_s}
    if usage.waiting_for_disk >= _WAITS_FOR_DISK:
        return "disk"
    if usage.busy >= _FULL:
        others = usage.busy * cores - sum(parts.values())
        if others > _OTHERS * cores:
            return f"other programs ({others:.1f} cores)"
        most = max(parts, key=lambda part: parts[part])
        return f"processors (most of it {most}, {parts[most]:.1f} of {cores})"
    if parts["server"] >= _FULL * server_processes:
        return "server (its processes have one core each)"
    if parts["benchmark"] >= _FULL:
        return "generator (it has one core)"
    return "worker, while processors rest" if behind else "nothing"


def rise(minutes: Sequence[float], values: Sequence[float]) -> float:
    """Return what values rose by while they were watched, by the median of all slopes.

    The first fifth is left out. One sample that is far off changes nothing.
    """
    times, found = np.asarray(minutes, float), np.asarray(values, float)
    warm = times >= times[0] + (times[-1] - times[0]) * _WARM_SHARE
    times, found = times[warm], found[warm]
    later, earlier = np.tril_indices(len(times), -1)
    if not len(later):
        return math.nan
    slopes = (found[later] - found[earlier]) / (times[later] - times[earlier])
    return float(np.median(slopes) * (times[-1] - times[0]))


def is_flat(minutes: Sequence[float], values: Sequence[float], tolerance: float) -> bool:
    """Whether the rise is within 5 % of the level, or within what such a figure varies by."""
    return rise(minutes, values) <= max(_RISE * float(np.median(values)), tolerance)
