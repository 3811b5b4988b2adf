"""`automatch up` and other commands as processes, on an empty data folder."""

from __future__ import annotations

import io
import json
import re
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any
from unittest.mock import patch
from urllib.parse import urlsplit

import httpx2
import psutil
import psycopg
import pytest

from automatch import __version__
from automatch.store.installation.migrate import MIGRATIONS
from tests.support.command import Running, call_command, environment, running_up
from tests.support.forks import ForkedProcess
from tests.support.homes import StoredHome
from tests.support.metrics import parse, value
from tests.support.patience import PATIENT, patience
from tests.support.postgres import remove_home
from tests.support.system import PASSWORD
from tests.support.waiting import wait_until


def _sign(url: str, how: str) -> int:
    body = {"email": "linh@example.org", "password": PASSWORD}
    return httpx2.post(f"{url}/auth/v1/{how}", json=body, timeout=60).status_code


def _children(pid: int) -> list[psutil.Process]:
    return psutil.Process(pid).children(recursive=True)


def _name(process: psutil.Process) -> str:
    # Sessions of Postgres end while the others are looked at.
    with suppress(psutil.NoSuchProcess):
        return process.name()
    return ""


@pytest.fixture(scope="module")
def up(migrated_home: StoredHome, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """Run one `automatch up` for the tests that do not end it."""
    home = tmp_path_factory.mktemp("up") / "data"
    ports = {"METRICS__PORT": "0", "METRICS__WORKER_PORT": "0"}
    with running_up(migrated_home.copy_to(home), settings=ports) as up:
        assert _sign(up.url, "signup") == 200
        up.wait_for_first("worker started")
        yield up
    remove_home(home)


def test_killed_parent_leaves_no_process_behind_and_the_next_start_has_its_data(
    empty_home: Path,
) -> None:
    with running_up(empty_home) as first:
        assert first.wait_for_first("Data folder: (.*)")[1].startswith(str(empty_home))
        assert httpx2.get(f"{first.url}/readyz", timeout=60).json() == {"status": "ready"}
        assert _sign(first.url, "signup") == 200
        first.wait_for_first("worker started")
        children = _children(first.process.pid)
        assert any("postgres" in _name(process) for process in children)

        first.stop(signal.SIGKILL)

        _, alive = psutil.wait_procs(children, timeout=60)
        assert alive == []

    with running_up(empty_home, "--processes", "2") as second:
        assert _sign(second.url, "token?grant_type=password") == 200
        _check_processes(second)
        children = _children(second.process.pid)
        _stop_gracefully(second)
        _, alive = psutil.wait_procs(children, timeout=60)
        assert alive == []


def _check_processes(up: Running) -> None:
    """Several share the port, and one that dies comes back."""

    def servers(than: psutil.Process | None = None) -> list[psutil.Process]:
        return [
            child
            for child in psutil.Process(up.process.pid).children()
            if child != than and {"serve", "--listen-fd"} <= {*child.cmdline()}
        ]

    [second] = wait_until(servers, "a second process")
    second.kill()
    wait_until(lambda: servers(second), "another one in its place")
    psutil.Process(up.process.pid).suspend()
    try:
        wait_until(lambda: _answers(up.url), "it answers while the first is frozen")
    finally:
        psutil.Process(up.process.pid).resume()


def _answers(url: str) -> bool:
    try:
        return httpx2.get(f"{url}/readyz", timeout=5).status_code == 200
    except httpx2.HTTPError:
        return False


def _stop_gracefully(up: Running) -> None:
    assert up.stop(signal.SIGINT) == 0
    up.wait_for("Stopped")
    assert "killing" not in "".join(up.lines)


def test_commands_work_beside_a_running_instance(up: Running) -> None:
    migrated = call_command(up.home, "migrate")
    paused = call_command(up.home, "jobs", "pause")
    queue = json.loads(call_command(up.home, "jobs", "stats", "--json").stdout)["queue"]
    resumed = call_command(up.home, "jobs", "resume")
    address = call_command(up.home, "db", "url", "--role", "owner").stdout.strip()
    token = call_command(
        up.home,
        *("token", "--email", "linh@example.org", "--reason", "asked for help"),
        AUTH__ALLOW_IMPERSONATION="true",
    ).stdout.strip()
    key = call_command(up.home, "token", "--role", "service_role").stdout.strip()
    env = call_command(up.home, "token", "--env").stdout

    assert "up to date" in migrated.stdout
    assert f"SUPABASE_URL={up.url}\n" in env
    assert paused.stdout == "The queue is paused; jobs waiting: 0.\n"
    assert queue["paused"] is True
    assert resumed.stdout == "The queue is running again; jobs waiting: 0.\n"
    with psycopg.connect(address) as conn:
        assert conn.execute("select count(*) from profiles").fetchone() == (1,)
    for shown, status in ((token, 200), (key, 403)):
        headers = {"authorization": f"Bearer {shown}"}
        answer = httpx2.get(f"{up.url}/api/profile", headers=headers, timeout=60)
        assert answer.status_code == status


@pytest.mark.parametrize(
    ("setting", "counter"),
    [("PORT", "automatch_uploads"), ("WORKER_PORT", "automatch_jobs_claimed")],
)
def test_server_and_worker_tell_their_metrics_on_ports_of_their_own(
    up: Running, setting: str, counter: str
) -> None:
    port = up.wait_for_first(rf"serving metrics +port=(\d+) setting=AUTOMATCH_METRICS__{setting}\b")

    told = parse(httpx2.get(f"http://127.0.0.1:{port[1]}/metrics"))

    assert value(told, "automatch_database_up") == 1
    assert value(told, f"{counter}_total") == 0


def test_second_instance_on_the_same_folder_is_refused(up: Running) -> None:
    # Its port is taken too, and is not what is told.
    second = call_command(up.home, "up", "--port", str(urlsplit(up.url).port))

    assert second.returncode == 1
    assert "already runs" in second.stderr
    assert "AUTOMATCH_HOME" in second.stderr
    assert "Traceback" not in second.stderr


def test_secrets_are_private_and_never_printed(up: Running) -> None:
    path = up.home / "secrets.json"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    secrets = re.findall(r'"([\w-]{32,})"', path.read_text())
    assert len(secrets) == 8
    printed = "".join(up.lines)
    assert "worker started" in printed
    assert not [secret for secret in secrets if secret in printed]
    assert "linh@example.org" not in printed


def test_doctor_finds_a_running_instance_healthy_and_repairs_what_it_finds(up: Running) -> None:
    home, url = up.home, ("--url", up.url)
    (home / "photos").mkdir(mode=0o700, exist_ok=True)
    (home / "photos").chmod(0o750)
    healthy = _json(call_command(home, "doctor", "--json", *url))
    assert healthy["healthy"], healthy
    assert "fail" not in _health(healthy).values()
    assert call_command(home, "doctor", "--strict", *url).returncode == 1

    (home / "secrets.json").chmod(0o644)
    readable = call_command(home, "doctor", *url)
    assert readable.returncode == 1
    assert "automatch doctor --fix" in readable.stderr
    unconfirmed = call_command(home, "doctor", "--fix", "--json", *url)
    assert unconfirmed.returncode == 1
    assert "--yes" in unconfirmed.stderr
    repaired = _json(call_command(home, "doctor", "--fix", "--yes", "--json", *url))
    assert repaired["repaired"] == ["machine.secrets", "storage.photos"]
    assert {_health(repaired)[name] for name in repaired["repaired"]} == {"ok"}


def _json(done: subprocess.CompletedProcess[str]) -> Any:
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout)


def _health(result: Any) -> dict[str, str]:
    return {check["name"]: check["health"] for check in result["checks"]}


def test_verify_shows_all_criteria_met_here_and_from_elsewhere(up: Running) -> None:
    with patience():
        shown = call_command(up.home, "verify", "--url", up.url)
    assert shown.returncode == 0, shown.stdout
    assert len(shown.stdout.splitlines()) == shown.stdout.count("✓ ") == 8

    key = call_command(up.home, "token", "--role", "service_role").stdout
    with patch.object(sys, "stdin", io.StringIO(key)), patience():
        elsewhere = call_command(
            up.home.with_name("elsewhere"),
            *("verify", "--url", up.url, "--key-file", "-", "--json"),
        )
    result = _json(elsewhere)
    assert result["met"]
    assert len(result["criteria"]) == 8
    assert not up.home.with_name("elsewhere").exists()


def test_verify_that_is_interrupted_takes_its_people_away(up: Running) -> None:
    assert call_command(up.home, "jobs", "pause").returncode == 0
    interrupted = ForkedProcess(
        [sys.executable, "-m", PATIENT, "verify", "--url", up.url],
        env=environment(up.home),
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
    assert call_command(up.home, "jobs", "resume").returncode == 0


def test_doctor_and_verify_tell_that_nothing_runs(ready_home: Path) -> None:
    stopped = call_command(ready_home, "doctor")
    away = call_command(ready_home, "verify")

    assert (stopped.returncode, away.returncode) == (1, 1)
    assert "Auto-Match is not running" in stopped.stdout
    assert "-> automatch up" in stopped.stdout
    assert "ok\tmachine.models\t" in stopped.stdout
    assert "✗ Upload is answered" in away.stdout


def test_taken_port_is_refused_before_anything_starts(empty_home: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        refused = call_command(empty_home, "up", "--port", port)
        health = call_command(empty_home, "up", "--port", "0", WORKER__HEALTH_PORT=port)
        metrics = call_command(empty_home, "up", "--port", "0", METRICS__WORKER_PORT=port)

    assert (refused.returncode, health.returncode, metrics.returncode) == (1, 1, 1)
    assert "AUTOMATCH_PORT" in refused.stderr
    assert "AUTOMATCH_WORKER__HEALTH_PORT" in health.stderr
    assert "AUTOMATCH_METRICS__WORKER_PORT" in metrics.stderr
    assert not empty_home.exists()


def test_migrate_works_without_a_running_instance_and_can_only_check(
    empty_home: Path, created_home: StoredHome
) -> None:
    created_home.copy_to(empty_home)
    checked = call_command(empty_home, "migrate", "--check")
    first = call_command(empty_home, "migrate")
    second = call_command(empty_home, "migrate", "--check")
    count = len(list(MIGRATIONS.glob("*.sql")))

    assert (checked.returncode, len(checked.stdout.split())) == (1, count)
    assert f"Migrations applied: {count}" in first.stdout
    assert (second.returncode, second.stdout) == (0, "")


def test_demo_fills_a_school_and_empties_it(ready_home: Path) -> None:
    filled = call_command(ready_home, "demo", "--people", "6", "--school", "UIT")
    emptied = call_command(ready_home, "demo", "--remove")

    assert "UIT has 6 simulated people now" in filled.stdout
    assert "6 simulated people removed" in emptied.stdout


@pytest.mark.parametrize("name", ["AUTOMATCH_PROT", "AUTOMATCH_WORKER__LEASE"])
def test_unknown_setting_is_named(empty_home: Path, name: str) -> None:
    refused = call_command(empty_home, "migrate", **{name.removeprefix("AUTOMATCH_"): "1"})

    assert refused.returncode == 1
    assert name in refused.stderr
    assert not empty_home.exists()


def test_version_is_printed(empty_home: Path) -> None:
    assert call_command(empty_home, "--version").stdout.strip() == __version__
