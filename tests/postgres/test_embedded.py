"""The embedded Postgres: first and later starts, crashes, and folders that must stay closed."""

from __future__ import annotations

import asyncio
import os
import secrets as random
import select
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import time
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from automatch.errors.configuration import InstanceRunningError
from automatch.errors.store import EmbeddedPostgresError
from automatch.postgres import orphan_processes
from automatch.postgres.addresses import database_address
from automatch.postgres.binaries import find_binaries, reachable_binaries
from automatch.postgres.cluster import prepare_cluster
from automatch.postgres.embedded import EmbeddedPostgres
from automatch.postgres.os_user import OsUser, find_os_user
from automatch.postgres.postmaster import server_settings
from automatch.settings import Settings
from automatch.settings.database import PostgresSettings
from automatch.settings.secrets import load_or_create
from tests.support.postgres import remove_home

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    from automatch.postgres.cluster import Cluster
    from tests.support.homes import StoredHome
    from tests.support.postgres import Database, TestCluster

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(sys.platform != "linux", reason="reads /proc"),
]
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root runs it as another user")

PATIENCE_S = 60

# What a test kills: another process that starts the server on a folder and waits.
PARENT = """
import asyncio, sys
from pathlib import Path
from automatch.settings import Settings
from automatch.postgres.embedded import EmbeddedPostgres
from automatch.settings.secrets import load_or_create

async def main():
    settings = Settings(home=Path(sys.argv[1]), database_url=None)
    async with EmbeddedPostgres(settings, load_or_create(settings.home)) as postgres:
        print("pid", postgres.pid, flush=True)
        await asyncio.Event().wait()

asyncio.run(main())
"""


@pytest.fixture
def new_home(tmp_path: Path) -> Iterator[Path]:
    """Give a data folder that is not there yet, below one that is closed to others."""
    home = tmp_path / "home"
    yield home
    remove_home(home)


@pytest.fixture
def home(new_home: Path, created_home: StoredHome) -> Path:
    """Give a data folder after its first start, below one that is closed to others."""
    return created_home.copy_to(new_home)


@pytest.fixture
def quick_initdb(created_home: StoredHome, monkeypatch: pytest.MonkeyPatch) -> None:
    """Copy the cluster and the secrets of a first start, where initdb computes for a second."""
    run = OsUser.run

    def copy(user: OsUser, *command: Any, **more: Any) -> subprocess.CompletedProcess[str]:
        if Path(command[0]).name != "initdb":
            return run(user, *command, **more)
        target = command[1].removeprefix("--pgdata=")
        # With its owners, which shutil does not keep.
        copying = ["cp", "-a", created_home.folder / "data", target]
        return subprocess.run(copying, check=True, capture_output=True, text=True)

    def create(path: Path) -> None:
        shutil.copy2(created_home.folder / "secrets.json", path)

    monkeypatch.setattr(OsUser, "run", copy)
    monkeypatch.setattr("automatch.settings.secrets._create", create)


@pytest.fixture
def open_folder(quick_initdb: None) -> Iterator[Path]:
    """Give a folder that every user may pass through."""
    folder = Path(tempfile.mkdtemp(prefix="automatch-test-"))
    folder.chmod(0o755)
    yield folder
    for home in folder.iterdir():
        remove_home(home)
    shutil.rmtree(folder)


def configure(home: Path) -> Settings:
    return Settings(home=home, database_url=None, postgres=PostgresSettings(shared_buffers_mb=32))


def build(home: Path) -> EmbeddedPostgres:
    return EmbeddedPostgres(configure(home), load_or_create(home))


def owner_address(home: Path) -> str:
    return database_address(configure(home), load_or_create(home), "owner")


@asynccontextmanager
async def connect(home: Path) -> AsyncIterator[psycopg.AsyncConnection]:
    async with await psycopg.AsyncConnection.connect(owner_address(home), autocommit=True) as conn:
        yield conn


async def fetch(home: Path, query: str) -> list[tuple[Any, ...]]:
    async with connect(home) as connection:
        return await (await connection.execute(query.encode())).fetchall()


async def fetch_one(connection: psycopg.AsyncConnection, query: str) -> tuple[Any, ...]:
    row = await (await connection.execute(query.encode())).fetchone()
    assert row is not None
    return row


async def until(home: Path, query: str) -> list[tuple[Any, ...]]:
    """Ask again and again, also while the server is away, until there is a row."""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            with suppress(psycopg.OperationalError):
                if rows := await fetch(home, query):
                    return rows
            await asyncio.sleep(0.01)


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def user_of(pid: int) -> int:
    return Path(f"/proc/{pid}").stat().st_uid


def wait_gone(pid: int) -> bool:
    """Wait until a process that is not our child has ended."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    gone = bool(poll.poll(PATIENCE_S * 1000))
    os.close(descriptor)
    return gone


def wait_until(condition: Callable[[], bool]) -> None:
    """Look again and again until something outside of this process has happened."""
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def launch(cluster: Cluster, *command: str | Path) -> subprocess.Popen[bytes]:
    """Start a program as the cluster's user, tied to nothing."""
    return subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        cwd="/",
        **cluster.os_user.subprocess_args,
    )


@contextmanager
def launch_parent(home: Path) -> Iterator[subprocess.Popen[str]]:
    """Run `PARENT`; the test kills it, or at the latest its end does."""
    with subprocess.Popen(
        [sys.executable, "-c", PARENT, home],
        stdout=subprocess.PIPE,
        text=True,
        env={"PYTHONPATH": os.pathsep.join(sys.path), "PATH": os.defpath},
    ) as parent:
        try:
            yield parent
        finally:
            parent.kill()


def read_server(parent: subprocess.Popen[str]) -> int:
    """Wait until the parent's server is ready; return its process id."""
    assert parent.stdout is not None
    return int(next(line.split()[1] for line in parent.stdout if line.startswith("pid ")))


def prepare(home: Path) -> Cluster:
    load_or_create(home)
    return prepare_cluster(home, "automatch", load_or_create(home).owner_password)


async def test_running_server_is_durable_and_closed(home: Path) -> None:
    async with build(home):
        shown = await fetch(
            home,
            "select name, setting from pg_settings where name in ('fsync', 'data_checksums',"
            " 'full_page_writes', 'synchronous_commit', 'listen_addresses', 'jit',"
            " 'server_encoding', 'shared_buffers')",
        )
        rules = await fetch(home, "select distinct auth_method from pg_hba_file_rules")
        modes = {part: mode_of(home / "postgres" / part) for part in ("data", "run", "log")}

    assert dict(shown) == {
        "fsync": "on",
        "data_checksums": "on",
        "full_page_writes": "on",
        "synchronous_commit": "on",
        "listen_addresses": "",
        "jit": "off",
        "server_encoding": "UTF8",
        "shared_buffers": str(configure(home).postgres.shared_buffers_mb * 128),
    }
    assert rules == [("scram-sha-256",)]
    assert modes == {"data": 0o700, "run": 0o700, "log": 0o700}


async def test_wrong_password_is_refused(cluster: TestCluster) -> None:
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        await psycopg.AsyncConnection.connect(cluster.address.owner, password="wrong")


async def test_vector_extension_is_there(cluster: TestCluster) -> None:
    found = await fetch(
        cluster.settings.home,
        "select default_version from pg_available_extensions where name = 'vector'",
    )

    assert str(found[0][0]) >= "0.8"


async def test_folder_has_one_instance_at_a_time_and_keeps_its_data(home: Path) -> None:
    postgres = build(home)
    await postgres.start()
    pid = postgres.pid
    with pytest.raises(InstanceRunningError, match=rf"{home} \(process {os.getpid()}\)"):
        await build(home).start()
    async with connect(home) as connection:
        await connection.execute("create table kept as select 7 as number")

    await postgres.stop()
    await postgres.stop()

    assert wait_gone(pid)
    async with build(home):
        assert await fetch(home, "select number from kept") == [(7,)]


async def test_values_of_a_failing_statement_do_not_reach_the_log(
    cluster: TestCluster, blank_database: Database
) -> None:
    canary = "canary@example.org"
    async with await psycopg.AsyncConnection.connect(
        blank_database.owner, autocommit=True
    ) as connection:
        await connection.execute("create table people (email text unique)")
        await connection.execute("insert into people values (%s)", [canary])
        for query in ("insert into people values (%s)", "select %s::int"):
            with pytest.raises(psycopg.Error, match=canary):
                await connection.execute(query.encode(), [canary])

    logs = [path.read_text() for path in (cluster.settings.home / "postgres/log").iterdir()]
    assert "ready to accept connections" in "".join(logs)
    assert canary not in "".join(logs)


async def test_server_killed_amid_a_query_is_started_again_with_its_data(home: Path) -> None:
    async with build(home) as postgres:
        killed = postgres.pid
        supervisor = asyncio.create_task(postgres.supervise())
        async with connect(home) as busy:
            await busy.execute("create table kept as select 7 as number")
            (backend,) = await fetch_one(busy, "select pg_backend_pid()")
            endless = asyncio.create_task(
                busy.execute("select count(*) from generate_series(1, 1000000000000)")
            )
            await until(
                home, f"select from pg_stat_activity where pid = {backend} and state = 'active'"
            )

            os.kill(killed, signal.SIGKILL)
            with pytest.raises(psycopg.OperationalError):
                await endless
        found = await until(home, "select number from kept")

        assert found == [(7,)]
        assert postgres.pid != killed
        assert wait_gone(backend)
        assert os.getsid(postgres.pid) == postgres.pid, "Ctrl-C in the terminal would reach it"

    async with asyncio.timeout(PATIENCE_S):
        await supervisor


async def test_server_ends_with_a_killed_parent_and_the_next_start_works(home: Path) -> None:
    with launch_parent(home) as parent:
        server = await asyncio.to_thread(read_server, parent)
        async with connect(home) as connection:
            await connection.execute("create table kept as select 7 as number")

            parent.kill()
            parent.wait()
            async with build(home):
                found = await fetch(home, "select number from kept")

    assert found == [(7,)]
    assert wait_gone(server)


async def test_server_ends_by_itself_when_its_parent_is_killed(home: Path) -> None:
    with launch_parent(home) as parent:
        server = await asyncio.to_thread(read_server, parent)

        parent.kill()

    assert await asyncio.to_thread(wait_gone, server)


async def test_server_left_by_an_earlier_run_is_stopped_first(home: Path) -> None:
    cluster = prepare(home)
    options = server_settings(cluster, PostgresSettings()).items()
    with launch(
        cluster,
        cluster.binaries / "bin" / "postgres",
        "-D",
        cluster.data,
        *(f"--{name}={value}" for name, value in options),
    ) as left:
        pid_file = cluster.data / "postmaster.pid"
        wait_until(lambda: pid_file.exists() and "ready" in pid_file.read_text())

        async with build(home) as postgres:
            assert await asyncio.to_thread(left.wait, PATIENCE_S) == 0
            assert postgres.pid != left.pid


def test_frozen_process_of_an_earlier_run_is_killed(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster = prepare(home)
    title = f"postgres: {cluster.name}: idle"
    with launch(cluster, "/bin/bash", "-c", 'exec -a "$0" cat', title) as left:
        wait_until(lambda: Path(f"/proc/{left.pid}/cmdline").read_text().rstrip("\0") == title)
        left.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, left.pid, os.WSTOPPED | os.WNOWAIT)
        monkeypatch.setattr(orphan_processes, "_IMMEDIATE_S", 0.01)

        try:
            orphan_processes.end_orphans(cluster)
            left.wait(PATIENCE_S)
        finally:
            left.kill()


async def test_stale_lock_file_that_names_a_living_stranger_is_no_obstacle(home: Path) -> None:
    cluster = prepare(home)
    with launch(cluster, "/bin/cat") as stranger:
        pid_file = cluster.data / "postmaster.pid"
        pid_file.write_text(f"{stranger.pid}\n{cluster.data}\n1\n5432\n\n\n\n\n\n")
        os.chown(pid_file, cluster.os_user.uid, cluster.os_user.gid)

        async with build(home):
            found = await fetch(home, "select 1")

        assert found == [(1,)]
        assert stranger.poll() is None


async def test_stale_lock_files_that_name_the_server_of_another_folder_are_no_obstacle(
    home: Path, cluster: TestCluster
) -> None:
    ours = prepare(home)
    other = cluster.settings.home / "postgres" / "data" / "postmaster.pid"
    pid = int(other.read_text().split("\n", 1)[0])
    for path, rest in (
        (ours.data / "postmaster.pid", f"{ours.data}\n1\n5432\n\n\n\n\n\n"),
        (ours.socket_folder / ".s.PGSQL.5432.lock", f"{ours.data}\n1\n5432\n\n"),
    ):
        path.write_text(f"{pid}\n{rest}")
        os.chown(path, ours.os_user.uid, ours.os_user.gid)

    async with build(home) as postgres:
        assert postgres.pid != pid

    os.kill(pid, 0)


async def test_start_keeps_the_newest_logs_only(home: Path) -> None:
    cluster = prepare(home)
    cluster.log_folder.mkdir()
    os.chown(cluster.log_folder, cluster.os_user.uid, cluster.os_user.gid)
    for day in range(10, 30):
        (cluster.log_folder / f"postgres-202001{day}-000000.log").touch()

    async with build(home):
        names = sorted(path.name for path in cluster.log_folder.iterdir())

    assert len(names) == 11
    assert names[0] == "postgres-20200120-000000.log"


async def test_weakened_durability_is_refused(home: Path) -> None:
    async with build(home), connect(home) as connection:
        await connection.execute("alter database postgres set synchronous_commit = off")

    with pytest.raises(EmbeddedPostgresError, match="synchronous_commit is not on"):
        await build(home).start()


async def test_database_of_other_secrets_is_refused_with_what_to_do(home: Path) -> None:
    async with build(home):
        pass
    (home / "secrets.json").unlink()

    with pytest.raises(EmbeddedPostgresError, match=r"restore the secrets\.json"):
        await build(home).start()


async def test_server_that_does_not_start_says_why(home: Path) -> None:
    cluster = prepare(home)
    (cluster.data / "postgresql.conf").write_text("nonsense = 1\n")

    with pytest.raises(EmbeddedPostgresError, match="nonsense"):
        await build(home).start()


async def test_first_start_killed_amid_initdb_leaves_no_half_cluster(new_home: Path) -> None:
    with launch_parent(new_home) as parent:
        wait_until(lambda: any((new_home / "postgres").glob("data.*.partial/base")))
        parent.kill()
    assert not (new_home / "postgres" / "data").exists()

    async with build(new_home) as postgres:
        assert await fetch(new_home, "select 1") == [(1,)]
        assert not list(postgres.folder.glob("*.partial"))


@pytest.mark.parametrize("name", ['a "quoted", spaced name', "x" * 120])
async def test_unusual_paths_work(open_folder: Path, name: str) -> None:
    home = open_folder / name

    async with build(home):
        found = await fetch(home, "select 1")

    assert found == [(1,)]


@as_root
async def test_root_opens_its_new_home_to_the_server_alone(open_folder: Path) -> None:
    home = open_folder / "home"

    async with build(home) as postgres:
        owner = find_os_user("automatch")

        assert postgres.folder == home / "postgres"
        assert user_of(postgres.pid) == owner.uid
        assert (mode_of(home), home.stat().st_uid, home.stat().st_gid) == (0o710, 0, owner.gid)
        assert mode_of(open_folder) == 0o755
        assert (home / "secrets.json").stat().st_uid == 0
        assert mode_of(home / "secrets.json") == 0o600


@as_root
async def test_root_leaves_closed_parents_closed(open_folder: Path) -> None:
    parent = open_folder / "parent"
    parent.mkdir(mode=0o700)
    home = parent / "home"

    try:
        async with build(home) as postgres:
            assert postgres.folder.parent == Path("/var/lib/automatch")
            assert (home / "postgres").readlink() == postgres.folder
            assert mode_of(postgres.folder) == 0o700
            assert await fetch(home, "select 1") == [(1,)]
        assert mode_of(parent) == 0o700
        async with build(home) as again:
            assert (home / "postgres").readlink() == again.folder
    finally:
        remove_home(home)


@as_root
async def test_root_does_not_open_a_home_that_it_was_given(open_folder: Path) -> None:
    home = open_folder / "home"
    home.mkdir(mode=0o700)

    async with build(home) as postgres:
        assert postgres.folder.parent == Path("/var/lib/automatch")

    assert mode_of(home) == 0o700


@as_root
def test_programs_in_a_closed_folder_are_copied_for_the_server(open_folder: Path) -> None:
    closed = open_folder / "closed"
    closed.mkdir(mode=0o700)
    package = find_binaries().parent
    source = closed / package.name / find_binaries().name
    shutil.copytree(find_binaries(), source, symlinks=True)
    libraries = f"{package.name}.libs"
    shutil.copytree(package.with_name(libraries), closed / libraries)
    shelf = open_folder / f"shelf-{random.token_hex(2)}"
    owner = find_os_user("automatch")

    copy = reachable_binaries(source, owner, shelf)
    second = reachable_binaries(source, owner, shelf)

    assert copy == second
    assert [shelf / path.name for path in shelf.iterdir()] == [copy.parents[1]]
    for program in ("postgres", "initdb", "pg_upgrade"):
        assert owner.run(copy / "bin" / program, "--version").returncode == 0
    assert (copy / "bin" / "postgres").stat().st_uid == 0
    assert not owner.reaches(copy)
    assert mode_of(closed) == 0o700


@as_root
def test_lost_database_folder_is_told_and_not_made_anew(new_home: Path) -> None:
    load_or_create(new_home)
    (new_home / "postgres").symlink_to("/var/lib/automatch/gone")

    with pytest.raises(EmbeddedPostgresError, match="which is missing"):
        prepare(new_home)
