"""`automatch doctor` and `automatch verify` as commands, on an Auto-Match of their own."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support.command import Running, environment, run_command, running_up

# Starts Postgres, a server, a worker, and a process for each command.
pytestmark = pytest.mark.timeout(240)


def _told(done: subprocess.CompletedProcess[str], code: int = 0) -> Any:
    assert done.returncode == code, done.stdout + done.stderr
    return json.loads(done.stdout)


def _health(told: Any) -> dict[str, str]:
    return {check["name"]: check["health"] for check in told["checks"]}


def test_commands_on_a_running_and_a_stopped_installation(empty_home: Path) -> None:
    with running_up(empty_home) as up:
        _doctor_finds_all_well_and_repairs(empty_home, up)
        _verify_meets_every_criterion(empty_home, up)
        _ctrl_c_erases_the_two(empty_home, up)

    stopped = run_command(empty_home, "doctor")
    assert stopped.returncode == 1
    assert "Auto-Match does not run" in stopped.stdout
    assert "-> automatch up" in stopped.stdout
    assert "ok        machine.model" in stopped.stdout
    away = run_command(empty_home, "verify")
    assert away.returncode == 1
    assert "✗ Upload is answered" in away.stdout


def _doctor_finds_all_well_and_repairs(home: Path, up: Running) -> None:
    url = ("--url", up.url)
    well = _told(run_command(home, "doctor", "--json", *url))
    assert well["healthy"], well
    assert "fail" not in _health(well).values()

    (home / "secrets.json").chmod(0o644)
    hurt = run_command(home, "doctor", *url)
    assert hurt.returncode == 1
    assert "automatch doctor --fix" in hurt.stdout
    asked = run_command(home, "doctor", "--fix", "--json", *url)
    assert asked.returncode == 1
    assert "--yes" in asked.stderr
    repaired = _told(run_command(home, "doctor", "--fix", "--yes", "--json", *url))
    assert repaired["repaired"] == ["machine.secrets"]
    assert _health(repaired)["machine.secrets"] == "ok"

    (home / "photos").mkdir(mode=0o700, exist_ok=True)
    (home / "photos").chmod(0o750)
    assert run_command(home, "doctor", *url).returncode == 0
    assert run_command(home, "doctor", "--strict", *url).returncode == 1
    assert run_command(home, "doctor", "--fix", "--yes", *url).returncode == 0


def _verify_meets_every_criterion(home: Path, up: Running) -> None:
    shown = run_command(home, "verify", "--url", up.url)
    assert shown.returncode == 0, shown.stdout
    assert len(shown.stdout.splitlines()) == shown.stdout.count("✓ ") == 8

    key = run_command(home, "token", "--role", "service_role").stdout
    elsewhere = subprocess.run(
        [sys.executable, "-m", "automatch", "verify", "--url", up.url, "--key-file", "-", "--json"],
        env=environment(home.with_name("elsewhere")),
        input=key,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    told = _told(elsewhere)
    assert told["met"]
    assert len(told["criteria"]) == 8
    assert not home.with_name("elsewhere").exists()


def _ctrl_c_erases_the_two(home: Path, up: Running) -> None:
    assert run_command(home, "jobs", "pause").returncode == 0
    trying = subprocess.Popen(
        [sys.executable, "-m", "automatch", "verify", "--url", up.url],
        env=environment(home),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert trying.stdout is not None
    for line in trying.stdout:
        if "Job appears" in line:
            break
    trying.send_signal(signal.SIGINT)
    rest, _ = trying.communicate(timeout=60)

    assert trying.returncode == 130
    assert "✓ The two people of the trial are erased: 2 people" in rest
    assert run_command(home, "jobs", "resume").returncode == 0
