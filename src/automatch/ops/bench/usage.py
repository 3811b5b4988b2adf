"""What the parts of an installation take of a machine while a block runs."""

from __future__ import annotations

import contextlib
import os
import platform
import time
from dataclasses import dataclass
from pathlib import Path

import psutil

PARTS = ("server", "worker", "database")


@dataclass(frozen=True, slots=True)
class Usage:
    """Processor time of the parts, and how busy the machine was with everything."""

    seconds: float
    cpu_s: dict[str, float]
    """Of the parts, and of this process as `benchmark`."""
    busy: float
    """The share of all processors that was in use, by other programs too."""
    waiting_for_disk: float
    """The share in which processors had nothing to do but to wait for a disk."""

    def cores(self, part: str) -> float:
        """Return how many processors a part kept busy."""
        return self.cpu_s[part] / self.seconds


class Meter:
    """Reads the processes below `automatch up`."""

    def __init__(self, pid: int) -> None:
        self._root = psutil.Process(pid)
        self.restart()

    def restart(self) -> None:
        """Begin to count anew."""
        self._began = time.monotonic()
        self._cpu, self._machine = self._cpu_s(), psutil.cpu_times()

    def read(self) -> Usage:
        """Return what was taken since the start."""
        cpu, machine = self._cpu_s(), psutil.cpu_times()
        passed = [now - then for now, then in zip(machine, self._machine, strict=True)]
        # Time of guests is counted as that of users too.
        by_name = dict(zip(machine._fields, passed, strict=True))
        total = sum(by_name.get(name, 0) for name in _KINDS) or 1.0
        idle, waiting = by_name["idle"], by_name.get("iowait", 0.0)
        return Usage(
            time.monotonic() - self._began,
            {part: cpu[part] - self._cpu[part] for part in cpu},
            1 - (idle + waiting) / total,
            waiting / total,
        )

    def server_bytes(self) -> int:
        """Return the memory of the server's processes."""
        return sum(process.memory_info().rss for process in self.processes()["server"])

    def processes(self) -> dict[str, list[psutil.Process]]:
        """Return the processes of each part as they are now."""
        found: dict[str, list[psutil.Process]] = {"server": [self._root]}
        found |= {"worker": [], "database": []}
        for child in self._root.children():
            with contextlib.suppress(psutil.NoSuchProcess):
                found[_part(child)] += [child, *child.children(recursive=True)]
        return found

    def _cpu_s(self) -> dict[str, float]:
        found = {
            part: sum(_with_ended(process) for process in processes if process != self._root)
            for part, processes in self.processes().items()
        }
        found["server"] += _own_cpu_s(self._root)
        times = os.times()
        return found | {"benchmark": times.user + times.system}


_KINDS = ("user", "nice", "system", "idle", "iowait", "irq", "softirq", "steal")


def _part(child: psutil.Process) -> str:
    if "postgres" in child.name():
        return "database"
    # Of several processes of one server (`--processes`) the first is the root.
    return "server" if "serve" in child.cmdline() else "worker"


def _own_cpu_s(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


def _with_ended(process: psutil.Process) -> float:
    try:
        times = process.cpu_times()
    except psutil.NoSuchProcess:
        return 0.0
    return float(times.user + times.system + times.children_user + times.children_system)


def describe_machine() -> str:
    """Name the machine: figures mean nothing without it."""
    model = platform.processor() or platform.machine()
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text("utf-8").splitlines():
            if line.startswith("model name"):
                model = line.partition(":")[2].strip()
                break
    memory = round(psutil.virtual_memory().total / 1024**3)
    return f"{model}, {os.cpu_count()} cores, {memory} GiB, Python {platform.python_version()}"
