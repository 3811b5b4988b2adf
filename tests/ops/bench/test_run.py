"""A short benchmark of this machine, from the command to its JSON."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from automatch.ops.bench import load, run
from automatch.ops.bench.installation import temporary_folder
from tests.support.command import call_command
from tests.support.homes import StoredHome


def test_short_benchmark_tells_sane_figures_and_leaves_nothing(
    tmp_path: Path, migrated_home: StoredHome, monkeypatch: pytest.MonkeyPatch
) -> None:
    @asynccontextmanager
    async def started_before(beside: Path) -> AsyncIterator[Path]:
        async with temporary_folder(beside) as home:
            yield migrated_home.copy_to(home)

    monkeypatch.setattr(run, "temporary_folder", started_before)
    # Large ones take a second each to draw and to see.
    monkeypatch.setattr(run, "_FACES", 2)
    monkeypatch.setattr(load, "SIDE", 640)
    # Those who look alike are waited for as long; a busy machine needs more than ten seconds.
    monkeypatch.setattr(run, "_SCREEN_MS", 60_000)
    home = tmp_path / "real"

    # The real database is left alone: this one could not even be reached.
    done = call_command(
        home,
        *("bench", "--minutes", "0.05", "--json"),
        DATABASE_URL="postgresql://owner:secret@nowhere.invalid/automatch",
    )

    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["feeds"]["opened"] == 40
    assert told["feeds"]["possible"] >= 40
    first = told["steps"][0]
    assert first["uploads"] >= 3
    assert first["refused"] == {}
    assert 0 < first["answer_ms"]["p50"] <= first["answer_ms"]["p95"]
    assert 0 < first["screen_ms"]["p50"] <= first["screen_ms"]["p95"]
    assert first["cpu_ms_per_photo"]["worker"] > first["cpu_ms_per_photo"]["database"] > 0
    assert told["uploads_a_minute"] > 0
    assert str(told["uploads_a_minute"]) in told["sentence"]
    assert list(tmp_path.iterdir()) == []
