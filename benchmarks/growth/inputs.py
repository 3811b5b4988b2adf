"""What the model of growth knows: measured costs, each with the command that measured it.

They are in `inputs.json`, with what is assumed about people and what a setting or a machine
gives. `python -m benchmarks.growth --refresh FILE` takes new costs from the figures of
`python -m benchmarks.system --json FILE`.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

FILE = Path(__file__).with_name("inputs.json")


@dataclass(frozen=True, slots=True)
class Input:
    """One number and where it comes from."""

    what: str
    value: float
    source: str
    """The command that measures it, or why it is assumed."""
    unit: str = ""
    date: str = ""
    machine: str = ""


@dataclass(frozen=True, slots=True)
class Costs:
    """Measured; times are of CPU."""

    server_ms_upload: float
    server_ms_event: float
    """A match that one open feed is told."""
    server_ms_opening: float
    server_ms_page: float
    server_us_idle: float
    """An open feed that waits, each second."""
    server_kib_feed: float
    server_mib: float
    worker_ms_photo: float
    worker_ms_1000_people: float
    """To compare a photo with so many people."""
    worker_mib: float
    database_ms_upload: float
    """From the upload to the matches in all feeds, without comparing."""
    database_ms_1000_people: float
    database_ms_event: float
    database_ms_opening: float
    database_ms_page: float
    database_us_idle: float
    database_mib: float
    """Besides the tables."""
    index_bytes_face: float
    """In the copy that is searched."""
    table_bytes_face: float
    photo_bytes: float
    wal_bytes_upload: float
    notifying_commits_s: float


@dataclass(frozen=True, slots=True)
class Assumptions:
    """What people do, what machines there are, and how full they may be."""

    uploads_person_day: float
    peak: float
    """Uploads in the busiest moment of a day, of the mean."""
    open_share: float
    """Of all people, whose feed is open in that moment."""
    visit_minutes: float
    pages_visit: float
    matches_upload: float
    photos_person: float
    school_people: float
    photo_time_cv: float
    """Standard deviation of what a photo takes, of its mean."""
    full: float
    """How busy processors may be in the busiest moment."""
    memory_full: float
    process_feeds: float
    """Connections of one server process."""
    log_mb_s: float
    """What a disk writes of the log, and replicas take."""
    node_cores: float
    node_gib: float


def load(path: Path = FILE) -> tuple[Costs, Assumptions, dict[str, dict[str, Input]]]:
    """Return the values, and all that is known of them."""
    parts: dict[str, dict[str, Input]] = {
        part: {name: Input(**each) for name, each in inputs.items()}
        for part, inputs in json.loads(path.read_text("utf-8")).items()
    }
    return (
        Costs(**{name: each.value for name, each in parts["measured"].items()}),
        Assumptions(**{name: each.value for name, each in parts["assumed"].items()}),
        parts,
    )


def refresh(figures: Mapping[str, Any], path: Path = FILE, only: Collection[str] = ()) -> list[str]:
    """Replace the costs that figures of `benchmarks.system` tell, or some of them; return which."""
    _, _, parts = load(path)
    told = {name: value for name, value in costs_of(figures).items() if not only or name in only}
    if not told:
        raise SystemExit("There are no costs in these figures: a soak alone tells none.")
    busy = f"load of the machine before: {max(one['load_before'] for one in figures['trials'])}"
    for name, value in told.items():
        parts["measured"][name] = Input(
            parts["measured"][name].what,
            value,
            f"`{figures['command']}`",
            parts["measured"][name].unit,
            figures["date"],
            f"{figures['machine']}; {figures['photos']}; {busy}",
        )
    data = {
        part: {name: {key: value for key, value in asdict(each).items() if value != ""}
               for name, each in inputs.items()}
        for part, inputs in parts.items()
    }  # fmt: skip
    path.write_text(json.dumps(data, indent=1) + "\n", "utf-8")
    return list(told)


def costs_of(figures: Mapping[str, Any]) -> dict[str, float]:
    """Return the costs that the figures of a run tell.

    What is spent on an upload is fitted as a part of its own and a part for each person who was
    told; what feeds that wait take is taken off before.
    """
    found: dict[str, float] = {}
    trials, openings = figures["trials"], figures["openings"]
    idle = {
        part: _slope([one["open_in_all"] for one in openings],
                     [one["idle_cores"][part] for one in openings])
        for part in ("server", "database")
    }  # fmt: skip
    if openings and max(one["open_in_all"] for one in openings):
        largest = max((one for one in openings if one["opened"]), key=lambda one: one["opened"])
        found |= {
            "server_us_idle": 1e6 * idle["server"],
            "database_us_idle": 1e6 * idle["database"],
            "server_kib_feed": largest["kib_each"],
            "server_ms_opening": largest["cpu_ms_each"]["server"],
            "database_ms_opening": largest["cpu_ms_each"]["database"],
        }
    at_rest = {
        part: (
            float(np.median([
                one["idle_cores"][part] - idle.get(part, 0.0) * one["open_in_all"]
                for one in openings
            ])) if openings else 0.0,
            idle.get(part, 0.0),
        )
        for part in ("server", "worker", "database")
    }  # fmt: skip
    grid = [one for one in trials if one["part"] == "grid" and _accepted(one)]
    if grid:
        told = [one["told"] / _accepted(one) for one in grid]
        for part, upload, event in (
            ("server", "server_ms_upload", "server_ms_event"),
            ("database", "database_ms_upload", "database_ms_event"),
        ):
            spent = [_ms_without_idle(one, part, at_rest) for one in grid]
            found[event] = _slope(told, spent)
            found[upload] = max(float(np.mean(spent) - found[event] * np.mean(told)), 0.0)
        found["worker_ms_photo"] = float(
            np.median([_ms_without_idle(one, "worker", at_rest) for one in grid])
        )
        found["wal_bytes_upload"] = float(np.median([one["wal_bytes_per_upload"] for one in grid]))
        found["server_mib"] = grid[0]["memory_mib"]["server"]
        for part in ("worker", "database"):
            found[f"{part}_mib"] = max(one["memory_mib"][part] for one in grid)
    schools = [one for one in trials if one["part"] == "schools" and _accepted(one)]
    for part in ("worker", "database"):
        if len(schools) > 1:
            found[f"{part}_ms_1000_people"] = 1000 * _slope(
                [one["people"] for one in schools],
                [_ms_without_idle(one, part, at_rest) for one in schools],
            )
        if figures["page_ms"] and part == "database":
            found |= {f"{each}_ms_page": figures["page_ms"][each] for each in ("server", part)}
    if figures["face_bytes"]:
        most = max(figures["face_bytes"], key=lambda one: one["faces"])
        found |= {"index_bytes_face": most["index"], "table_bytes_face": most["tables"]}
    if figures["photo_bytes"]:
        found["photo_bytes"] = figures["photo_bytes"]
    assert found.keys() <= {each.name for each in fields(Costs)}
    return {name: round(value, 4) for name, value in found.items()}


def _accepted(trial: Mapping[str, Any]) -> int:
    return int(trial["uploads"] - sum(trial["refused"].values()))


def _ms_without_idle(
    trial: Mapping[str, Any], part: str, at_rest: Mapping[str, tuple[float, float]]
) -> float:
    alone, each = at_rest[part]
    waited = 1000 * (alone + each * trial["feeds"]) * trial["counted_s"] / _accepted(trial)
    return max(float(trial["cpu_ms_per_upload"][part]) - waited, 0.0)


def _slope(xs: Sequence[float], ys: Sequence[float]) -> float:
    """Return by how much y grows with x, by least squares; no cost is negative."""
    if len(set(xs)) < 2:
        return 0.0
    return max(float(np.polyfit(xs, ys, 1)[0]), 0.0)
