"""`automatch doctor` and `automatch verify` on an installation of their own."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.support.command import Running, call_command, environment, running_up


def _json(done: subprocess.CompletedProcess[str], code: int = 0) -> Any:
    assert done.returncode == code, done.stdout + done.stderr
    return json.loads(done.stdout)


def _health(result: Any) -> dict[str, str]:
    return {check["name"]: check["health"] for check in result["checks"]}


def test_commands_on_a_running_and_a_stopped_installation(ready_home: Path) -> None:
    stopped = call_command(ready_home, "doctor")
    assert stopped.returncode == 1
    assert "Auto-Match is not running" in stopped.stdout
    assert "-> automatch up" in stopped.stdout
    assert "ok\tmachine.models\t" in stopped.stdout

    with running_up(ready_home) as up:
        up.wait_for_first("worker started")
        _check_doctor(ready_home, up)
        _check_verify(ready_home, up)
        _check_interrupted_verify(ready_home, up)

    away = call_command(ready_home, "verify")
    assert away.returncode == 1
    assert "✗ Upload is answered" in away.stdout


def _check_doctor(home: Path, up: Running) -> None:
    url = ("--url", up.url)
    healthy = _json(call_command(home, "doctor", "--json", *url))
    assert healthy["healthy"], healthy
    assert "fail" not in _health(healthy).values()

    (home / "secrets.json").chmod(0o644)
    readable = call_command(home, "doctor", *url)
    assert readable.returncode == 1
    assert "automatch doctor --fix" in readable.stderr
    unconfirmed = call_command(home, "doctor", "--fix", "--json", *url)
    assert unconfirmed.returncode == 1
    assert "--yes" in unconfirmed.stderr
    repaired = _json(call_command(home, "doctor", "--fix", "--yes", "--json", *url))
    assert repaired["repaired"] == ["machine.secrets"]
    assert _health(repaired)["machine.secrets"] == "ok"

    (home / "photos").mkdir(mode=0o700, exist_ok=True)
    (home / "photos").chmod(0o750)
    assert call_command(home, "doctor", *url).returncode == 0
    assert call_command(home, "doctor", "--strict", *url).returncode == 1
    assert call_command(home, "doctor", "--fix", "--yes", *url).returncode == 0


def _check_verify(home: Path, up: Running) -> None:
    shown = call_command(home, "verify", "--url", up.url)
    assert shown.returncode == 0, shown.stdout
    assert len(shown.stdout.splitlines()) == shown.stdout.count("✓ ") == 8

    key = call_command(home, "token", "--role", "service_role").stdout
    elsewhere = subprocess.run(
        [sys.executable, "-m", "automatch", "verify", "--url", up.url, "--key-file", "-", "--json"],
        env=environment(home.with_name("elsewhere")),
        input=key,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    result = _json(elsewhere)
    assert result["met"]
    assert len(result["criteria"]) == 8
    assert not home.with_name("elsewhere").exists()


def _check_interrupted_verify(home: Path, up: Running) -> None:
    assert call_command(home, "jobs", "pause").returncode == 0
    interrupted = subprocess.Popen(
        [sys.executable, "-m", "automatch", "verify", "--url", up.url],
        env=environment(home),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert interrupted.stdout is not None
    for line in interrupted.stdout:
        if "Job appears" in line:
            break
    interrupted.send_signal(signal.SIGINT)
    rest, _ = interrupted.communicate(timeout=60)

    assert interrupted.returncode == 130
    assert "✓ The two people of the smoke test are deleted: 2 people" in rest
    assert call_command(home, "jobs", "resume").returncode == 0
