"""The services of `compose.yaml` as processes: what they are told is enough for a match.

Their commands and environments are read from the file and from the Dockerfile. They run as a user
who can write to the data folder alone, beside a Postgres that is reached by TCP; where containers
have names and folders of their own, they get those of this machine.
"""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import shutil
import socket
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest
import yaml
from psycopg import sql

from automatch.postgres.binaries import find_binaries, reachable_binaries
from automatch.postgres.cluster import STATE_FOLDER
from automatch.postgres.os_user import OsUser, find_os_user
from tests.support.command import call_command
from tests.support.patience import PATIENT
from tests.support.ports import reserved_port
from tests.support.waiting import wait_until
from tools.try_servers import running_postgres

_ROOT = Path(__file__).parents[2]
_COMPOSE = _ROOT / "deploy" / "compose"
_DOCKERFILE = (_ROOT / "Dockerfile").read_text()
_SERVICES: dict[str, Any] = yaml.safe_load((_COMPOSE / "compose.yaml").read_text())["services"]
_PATIENCE_S = 90


@dataclass(frozen=True)
class Host:
    """This machine in place of the containers."""

    folder: Path
    user: OsUser
    python: str
    database_port: int

    def environment(self, service: str, port: int) -> dict[str, str]:
        """Return what a container of a service has in its environment, for a process here."""
        image = re.search(r"^ENV (PATH=(?:.*\\\n)*.*)$", _DOCKERFILE, re.MULTILINE)
        assert image is not None
        words = shlex.split(image[1].replace("\\\n", " "))
        told = dict(word.split("=", 1) for word in words)
        told |= _SERVICES[service].get("environment", {})
        here = {name: self._here(value) for name, value in told.items()}
        paths = [sysconfig.get_path("purelib"), str(_ROOT / "src"), str(_ROOT)]
        own = {"AUTOMATCH_HOST": "127.0.0.1", "PATH": os.defpath, "PYTHONPATH": ":".join(paths)}
        if service == "server":
            own["AUTOMATCH_PORT"] = str(port)
        elif "AUTOMATCH_WORKER__HEALTH_PORT" in here:
            own["AUTOMATCH_WORKER__HEALTH_PORT"] = str(port)
        return here | own

    def _here(self, value: str) -> str:
        value = re.sub(r"\$\{\w+:-(.*?)\}", r"\1", value)
        value = value.replace("@db:5432/", f"@127.0.0.1:{self.database_port}/")
        return re.sub(r"^/(data|run)\b", rf"{self.folder}/\1", value)

    def command(self, *words: str, module: str = "automatch") -> list[str]:
        return [self.python, "-m", module, *words]

    def check(self, service: str, port: int) -> list[str]:
        """Return the health check of a service."""
        if "healthcheck" in _SERVICES[service]:
            test = _SERVICES[service]["healthcheck"]["test"]
            assert test[:2] == ["CMD", "python"]
        else:
            found = re.search(
                r"^HEALTHCHECK (?:.*\\\n)*\s*CMD (\[.*\])$", _DOCKERFILE, re.MULTILINE
            )
            assert found is not None
            test = ["CMD", *yaml.safe_load(found[1])]
        script = re.sub(r"127\.0\.0\.1:\d+", f"127.0.0.1:{port}", test[3])
        return [self.python, "-c", script]


@pytest.fixture(scope="module")
def host() -> Iterator[Host]:
    user = find_os_user("automatch")
    python = _python_for(user)
    state = STATE_FOLDER if user.is_other else Path("/nowhere")
    binaries = reachable_binaries(find_binaries(), user, state)
    with (
        tempfile.TemporaryDirectory(prefix="automatch-compose-") as name,
        running_postgres(binaries) as superuser,
    ):
        folder = Path(name)
        folder.chmod(0o755)
        for part, mode in (("data", 0o700), ("run/secrets", 0o755)):
            (folder / part).mkdir(parents=True, mode=mode)
        os.chown(folder / "data", user.uid, user.gid)
        subprocess.run([shutil.copy(_COMPOSE / "make-secrets", folder)], check=True)
        password = (folder / "secrets" / "postgres_password").read_text().strip()
        _make_database(superuser, password)
        port = int(psycopg.conninfo.conninfo_to_dict(superuser)["port"])
        url = (folder / "secrets" / "database_url").read_text()
        (folder / "run" / "secrets" / "database_url").write_text(
            url.replace("@db:5432", f"@127.0.0.1:{port}")
        )
        yield Host(folder, user, python, port)


def _python_for(user: OsUser) -> str:
    for python in (os.path.realpath(sys.executable), f"/usr/bin/python3.{sys.version_info.minor}"):
        code = f"import sys; sys.path += {[sysconfig.get_path('purelib'), str(_ROOT / 'src')]!r}; "
        if user.run(python, "-c", code + "import automatch, numpy").returncode == 0:
            return python
    pytest.skip(f"the user {user.name} can neither run this Python nor read the sources")


def _make_database(superuser: str, password: str) -> None:
    # As the image of Postgres does: its user is a superuser.
    with psycopg.connect(superuser, autocommit=True) as conn:
        conn.execute(sql.SQL("create role automatch superuser login password {}").format(password))
        conn.execute("alter database automatch owner to automatch")


@contextmanager
def _running(host: Host, service: str) -> Iterator[int]:
    """Run a service until left, then stop it as a container is; give its port."""
    with tempfile.TemporaryFile("w+") as log, reserved_port() as port:
        process = subprocess.Popen(
            host.command(*_SERVICES[service]["command"]),
            env=host.environment(service, port),
            cwd=host.folder / "data",
            stdout=log,
            stderr=log,
            **host.user.subprocess_args,
        )
        try:

            def is_healthy() -> bool:
                log.seek(0)
                assert process.poll() is None, log.read()
                # A check is a process of its own; before anybody listens none is needed.
                with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
                    checked = subprocess.run(
                        host.check(service, port), capture_output=True, check=False
                    )
                    return checked.returncode == 0
                return False

            wait_until(is_healthy, f"{service} is healthy", within_s=_PATIENCE_S)
            yield port
            process.terminate()
            assert process.wait(int(_SERVICES[service]["stop_grace_period"].rstrip("s"))) == 0
        finally:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            process.wait()


def _run(
    host: Host, service: str, *words: str, module: str = "automatch"
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        host.command(*words, module=module),
        env=host.environment(service, 0),
        cwd=host.folder / "data",
        capture_output=True,
        text=True,
        timeout=_PATIENCE_S,
        check=False,
        **host.user.subprocess_args,
    )


def test_services_start_in_their_order_find_a_match_and_stop(host: Host, tmp_path: Path) -> None:
    told = {
        name.removeprefix("AUTOMATCH_"): value
        for name, value in host.environment("server", 0).items()
        if name.startswith("AUTOMATCH_") and name != "AUTOMATCH_HOME"
    }
    early = call_command(tmp_path, *_SERVICES["server"]["command"], **told)
    migrated = _run(host, "migrate", *_SERVICES["migrate"]["command"])
    assert migrated.returncode == 0, migrated.stderr
    with ExitStack() as running:
        port = running.enter_context(_running(host, "server"))
        running.enter_context(_running(host, "worker"))
        verified = _run(
            host, "migrate", "verify", "--url", f"http://127.0.0.1:{port}", module=PATIENT
        )

    # The order that compose keeps is needed.
    assert early.returncode == 1
    assert "automatch migrate" in early.stderr
    assert verified.returncode == 0, verified.stdout + verified.stderr
    # Nothing was written but what is on the volume.
    written = {path.name for path in host.folder.iterdir()}
    assert written == {"data", "run", "secrets", "make-secrets"}
    assert (host.folder / "data" / "secrets.json").stat().st_uid == host.user.uid


def test_server_and_workers_know_no_password_of_the_owner(host: Host) -> None:
    password = (host.folder / "secrets" / "postgres_password").read_text().strip()

    for service in ("server", "worker"):
        environment = host.environment(service, 0)
        assert password not in str(environment)
        assert "AUTOMATCH_DATABASE_URL_FILE" not in environment
