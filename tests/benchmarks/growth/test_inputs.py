"""The inputs of the model: all named with a source, and taken anew from figures of a run."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from benchmarks.growth.inputs import FILE, costs_of, load, refresh

_ROOT = Path(__file__).parents[3]


def _trial(part: str, told: int, server: float, database: float, people: int = 100) -> Any:
    return {
        "part": part, "feeds": 100 if told else 0, "people": people, "uploads": 12,
        "refused": {"rate_limited": 2}, "load_before": 0.3, "told": told, "counted_s": 10.0,
        "cpu_ms_per_upload": {"server": server, "worker": 80.0, "database": database},
        "wal_bytes_per_upload": 30_000,
        "memory_mib": {"server": 100.0, "worker": 300.0, "database": 90.0},
    }  # fmt: skip


def _figures() -> dict[str, Any]:
    idle = {"server": 0.0, "worker": 0.0, "database": 0.0}
    return {
        "machine": "a machine", "command": "python -m benchmarks.system --json FILE",
        "date": "2026-12-01", "photos": "drawn photos", "photo_bytes": 200_000,
        "page_ms": {"server": 3.0, "database": 2.0},
        "face_bytes": [{"faces": 1_000, "index": 400.0, "tables": 900.0}],
        "openings": [
            {"open_in_all": 0, "opened": 0, "kib_each": 0.0, "idle_cores": idle,
             "cpu_ms_each": idle},
            {"open_in_all": 100, "opened": 100, "kib_each": 15.0,
             "idle_cores": idle | {"server": 0.002},
             "cpu_ms_each": {"server": 2.0, "worker": 0.0, "database": 1.0}},
        ],
        "trials": [
            _trial("grid", 0, 10, 4),
            # 20 people are told of each: 0.5 ms each; and 0.002 cores for 10 s, 2 ms an upload.
            _trial("grid", 200, 10 + 20 * 0.5 + 2, 4 + 20 * 0.1),
            _trial("schools", 0, 10, 5, 10_000),
            _trial("schools", 0, 10, 15, 50_000),
        ],
    }  # fmt: skip


def test_costs_are_told_apart() -> None:
    costs = costs_of(_figures())

    assert costs["server_us_idle"] == pytest.approx(20)
    assert costs["server_ms_event"] == pytest.approx(0.5)
    assert costs["server_ms_upload"] == pytest.approx(10)
    assert costs["database_ms_event"] == pytest.approx(0.1)
    assert costs["database_ms_upload"] == pytest.approx(4)
    assert costs["database_ms_1000_people"] == pytest.approx(0.25)
    assert costs["worker_ms_photo"] == 80
    assert costs["worker_ms_1000_people"] == 0
    assert costs["server_kib_feed"] == 15


def test_noise_makes_no_cost_negative() -> None:
    figures = _figures()
    figures["trials"][1]["cpu_ms_per_upload"]["server"] = 1.0

    assert costs_of(figures)["server_ms_event"] == 0


def test_refresh_keeps_what_a_run_did_not_measure(tmp_path: Path) -> None:
    path = tmp_path / "inputs.json"
    shutil.copy(FILE, path)
    before = load(path)[2]
    figures = _figures() | {"face_bytes": [], "openings": []}

    refresh(figures, path)

    _, _, parts = load(path)
    assert parts["assumed"] == before["assumed"]
    assert parts["measured"]["index_bytes_face"] == before["measured"]["index_bytes_face"]
    assert parts["measured"]["photo_bytes"].value == 200_000
    assert parts["measured"]["photo_bytes"].source == f"`{figures['command']}`"
    assert parts["measured"]["photo_bytes"].date == "2026-12-01"
    # What other programs did is part of what a figure is worth.
    assert parts["measured"]["photo_bytes"].machine.endswith("load of the machine before: 0.3")


def test_some_costs_can_be_taken_alone(tmp_path: Path) -> None:
    path = tmp_path / "inputs.json"
    shutil.copy(FILE, path)

    assert refresh(_figures(), path, only=["server_kib_feed"]) == ["server_kib_feed"]

    costs, before = load(path)[0], load()[0]
    assert costs == replace(before, server_kib_feed=15)


def test_soak_alone_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "inputs.json"
    shutil.copy(FILE, path)
    nothing = {"trials": [], "openings": [], "face_bytes": [], "page_ms": {}, "photo_bytes": 0}

    with pytest.raises(SystemExit, match="no costs"):
        refresh(_figures() | nothing, path)

    assert path.read_text() == FILE.read_text()


def test_every_measured_input_names_a_command_that_exists() -> None:
    for part, inputs in load()[2].items():
        for name, each in inputs.items():
            assert each.source, name
            if part == "measured":
                assert re.fullmatch(r"\d{4}-\d\d-\d\d", each.date), name
                found = re.match(r"`python -m ([a-z_.]+)", each.source)
                assert found, name
                module = _ROOT / found[1].replace(".", "/")
                assert module.is_dir() or module.with_suffix(".py").is_file(), name


def test_file_is_as_it_is_written() -> None:
    text = FILE.read_text("utf-8")

    assert text == json.dumps(json.loads(text), indent=1) + "\n"
