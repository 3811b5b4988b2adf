"""`automatch up` and other commands as processes, on an empty data folder."""

from __future__ import annotations

import re
import signal
import socket
import stat
from pathlib import Path

import httpx2
import psutil
import psycopg
import pytest

from automatch import __version__
from automatch.store.migrate import MIGRATIONS
from tests.support.command import run_command, running_up
from tests.support.system import PASSWORD


def _sign(url: str, how: str) -> int:
    body = {"email": "linh@example.org", "password": PASSWORD}
    return httpx2.post(f"{url}/auth/v1/{how}", json=body, timeout=30).status_code


def _children(pid: int) -> list[psutil.Process]:
    return psutil.Process(pid).children(recursive=True)


def test_first_start_serves_and_ctrl_c_stops_all_processes(empty_home: Path) -> None:
    with running_up(empty_home) as up:
        assert up.wait_for("Data folder: (.*)")[1].startswith(str(empty_home))
        assert httpx2.get(f"{up.url}/readyz").json() == {"status": "ready"}
        up.wait_for_first("worker started")
        children = _children(up.process.pid)
        assert any("postgres" in process.name() for process in children)

        status = up.stop(signal.SIGINT)

    assert status == 0
    _, alive = psutil.wait_procs(children, timeout=20)
    assert alive == []


def test_second_start_finds_the_data_again(empty_home: Path) -> None:
    with running_up(empty_home) as up:
        assert _sign(up.url, "signup") == 200
    with running_up(empty_home) as up:
        assert _sign(up.url, "token?grant_type=password") == 200


def test_second_instance_on_the_same_folder_is_refused(empty_home: Path) -> None:
    with running_up(empty_home):
        second = run_command(empty_home, "up", "--port", "0")

    assert second.returncode == 1
    assert "already runs" in second.stderr
    assert "AUTOMATCH_HOME" in second.stderr
    assert "Traceback" not in second.stderr


def test_taken_port_is_refused_before_anything_starts(empty_home: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        refused = run_command(empty_home, "up", "--port", str(taken.getsockname()[1]))

    assert refused.returncode == 1
    assert "AUTOMATCH_PORT" in refused.stderr


def test_secrets_are_private_and_never_printed(empty_home: Path) -> None:
    with running_up(empty_home) as up:
        assert _sign(up.url, "signup") == 200
        up.wait_for_first("worker started")

    path = empty_home / "secrets.json"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    secrets = re.findall(r'"([\w-]{32,})"', path.read_text())
    assert len(secrets) == 5
    printed = "".join(up.lines)
    assert not [secret for secret in secrets if secret in printed]
    assert "linh@example.org" not in printed


def test_killed_worker_is_restarted(empty_home: Path) -> None:
    with running_up(empty_home) as up:
        up.wait_for_first("worker started")
        worker = next(p for p in _children(up.process.pid) if "worker" in p.cmdline())

        worker.kill()

        up.wait_for("worker exited unexpectedly")
        up.wait_for("worker started")


def test_killed_parent_leaves_no_process_behind(empty_home: Path) -> None:
    with running_up(empty_home) as up:
        up.wait_for_first("worker started")
        children = _children(up.process.pid)

        up.stop(signal.SIGKILL)

        _, alive = psutil.wait_procs(children, timeout=30)
    assert alive == []


def test_commands_work_beside_a_running_instance(empty_home: Path) -> None:
    with running_up(empty_home) as up:
        assert _sign(up.url, "signup") == 200

        migrated = run_command(empty_home, "migrate")
        address = run_command(empty_home, "db", "url", "--role", "owner").stdout.strip()
        token = run_command(empty_home, "token", "--email", "linh@example.org").stdout.strip()
        key = run_command(empty_home, "token", "--role", "service_role").stdout.strip()

        assert "up to date" in migrated.stdout
        with psycopg.connect(address) as conn:
            assert conn.execute("select count(*) from profiles").fetchone() == (1,)
        headers = {"authorization": f"Bearer {token}"}
        assert httpx2.get(f"{up.url}/api/profile", headers=headers).status_code == 200
        headers = {"authorization": f"Bearer {key}"}
        assert httpx2.get(f"{up.url}/api/profile", headers=headers).status_code == 403


def test_migrate_works_without_a_running_instance_and_can_only_check(empty_home: Path) -> None:
    checked = run_command(empty_home, "migrate", "--check")
    first = run_command(empty_home, "migrate")
    second = run_command(empty_home, "migrate", "--check")
    count = len(list(MIGRATIONS.glob("*.sql")))

    assert (checked.returncode, len(checked.stdout.split())) == (1, count)
    assert f"Migrations applied: {count}" in first.stdout
    assert (second.returncode, second.stdout) == (0, "")


def test_demo_fills_a_school_and_empties_it(empty_home: Path) -> None:
    filled = run_command(empty_home, "demo", "--people", "6", "--school", "UIT")
    emptied = run_command(empty_home, "demo", "--remove")

    assert "UIT has 6 simulated people now" in filled.stdout
    assert "6 simulated people removed" in emptied.stdout


@pytest.mark.parametrize("name", ["AUTOMATCH_PROT", "AUTOMATCH_WORKER__LEASE"])
def test_unknown_setting_is_named(empty_home: Path, name: str) -> None:
    refused = run_command(empty_home, "migrate", setting=(name, "1"))

    assert refused.returncode == 1
    assert name in refused.stderr
    assert not empty_home.exists()


@pytest.mark.parametrize("moment", ["Auto-Match is ready", "worker started"])
def test_stopping_right_after_the_start_is_graceful(empty_home: Path, moment: str) -> None:
    with running_up(empty_home) as up:
        up.wait_for_first(moment)

        status = up.stop(signal.SIGINT)
        up.wait_for("Stopped")

    assert status == 0
    assert "killing" not in "".join(up.lines)


def test_version_is_printed(empty_home: Path) -> None:
    assert run_command(empty_home, "--version").stdout.strip() == __version__
