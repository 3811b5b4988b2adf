"""`.github/workflows/ci.yml`: what the README and the classifiers claim is what it tries."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

_ROOT = Path(__file__).parents[2]
_PROJECT = tomllib.loads((_ROOT / "pyproject.toml").read_text())["project"]
_README = (_ROOT / "README.md").read_text()
_MAKEFILE = (_ROOT / "Makefile").read_text()


@pytest.fixture(scope="module")
def workflow() -> dict[Any, Any]:
    return dict(yaml.safe_load((_ROOT / ".github/workflows/ci.yml").read_text()))


def _steps(workflow: dict[Any, Any]) -> list[dict[str, Any]]:
    return [step for job in workflow["jobs"].values() for step in job["steps"]]


def test_every_python_of_the_classifiers_is_tried_and_no_other(workflow: dict[Any, Any]) -> None:
    prefix = "Programming Language :: Python :: "
    claimed = [
        one.removeprefix(prefix) for one in _PROJECT["classifiers"] if one.startswith(prefix)
    ]

    tried = workflow["jobs"]["python"]["strategy"]["matrix"]["python"]

    assert tried == claimed
    assert _PROJECT["requires-python"] == f">={tried[0]}"
    assert f"Python {tried[0]} or newer" in _README


def test_every_postgres_that_the_readme_names_is_tried(workflow: dict[Any, Any]) -> None:
    tried = workflow["jobs"]["postgres"]["strategy"]["matrix"]["postgres"]

    [(first, last)] = re.findall(r"PostgreSQL (\d+) to (\d+)", _README)

    assert tried == [str(version) for version in range(int(first), int(last) + 1)]


def test_jobs_run_what_a_person_runs(workflow: dict[Any, Any]) -> None:
    commands = [step["run"] for step in _steps(workflow) if "run" in step]

    assert commands == [
        ".ci/run",
        "make screenshots",
        "make test-server",
        ".ci/lint-database",
        ".ci/image",
    ]
    assert "\ntest-server:" in _MAKEFILE
    for script in (_ROOT / ".ci").iterdir():
        assert script.stat().st_mode & 0o111


def test_jobs_may_read_and_nothing_else(workflow: dict[Any, Any]) -> None:
    assert workflow["permissions"] == {}
    for job in workflow["jobs"].values():
        assert job["permissions"] == {"contents": "read"}


def test_actions_are_pinned_to_a_commit(workflow: dict[Any, Any]) -> None:
    actions = [step["uses"] for step in _steps(workflow) if "uses" in step]

    assert actions
    for action in actions:
        assert re.fullmatch(r"actions/[a-z-]+@[0-9a-f]{40}", action)
