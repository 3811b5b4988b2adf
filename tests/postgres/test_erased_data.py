"""What is erased is gone from the files of the database: tables, indexes, statistics and log."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import UUID

import psycopg
import pytest

from automatch import postgres
from automatch.postgres.erased_data import ErasedData
from tests.support import build
from tests.support.build import acting, connect, one
from tests.support.command import call_command
from tests.support.waiting import PATIENCE_S

if TYPE_CHECKING:
    from tests.support.postgres import Database, TestCluster

BIRTH_DATE = "1931-07-23"


@pytest.fixture
def files(cluster: TestCluster, database: Database) -> Callable[[], Iterator[Path]]:
    """Give what lists the files of the server that may tell of the test's own database."""
    if cluster.settings.database_url is not None:
        pytest.skip("the files of another server cannot be read")
    folder = (cluster.settings.home / "postgres").resolve()
    with connect(database.owner) as conn:
        own = one(conn, "select oid::text from pg_database where datname = current_database()")

    def list_files() -> Iterator[Path]:
        for path in folder.rglob("*"):
            is_of_another = path.parent.parent.name == "base" and path.parent.name != own
            if path.is_file() and not path.is_symlink() and not is_of_another:
                yield path

    return list_files


def join(conn: psycopg.Connection, gender: str, like: UUID | None = None) -> tuple[UUID, dict]:
    """Make a person with a face; return their id, and the bytes that tell of them."""
    token = secrets.token_hex(8)
    told = {"name": f"Ngọc {token}", "email": f"{token}@example.org", "hash": f"$argon2id${token}"}
    person = one(conn, "select auth.create_user(%s, %s, '{}')", told["email"], told["hash"])
    with acting(conn, person):
        conn.execute(
            "select public.save_profile(%s, 'UIT', %s, %s)", [told["name"], gender, BIRTH_DATE]
        )
        conn.execute("select public.record_consent(true, '2026-11')")
    embedding = build.unit(secrets.randbits(32))
    face = build.a_face(conn, person, embedding)
    build.a_match(conn, face)
    bytes_of = {name: text.encode() for name, text in told.items()}
    for kind in ("<f4", ">f4", "<f2", ">f2"):
        for part, values in (("first", embedding[:12]), ("last", embedding[-12:])):
            bytes_of[f"{part} {kind}"] = values.astype(kind).tobytes()
    return person, bytes_of


def found(files: Callable[[], Iterator[Path]], bytes_of: dict[str, bytes]) -> set[str]:
    """Return which of the bytes are in one of the files."""
    while True:
        # A checkpoint of the server removes and renames files whenever it likes.
        with suppress(FileNotFoundError):
            contents = (path.read_bytes() for path in files())
            return {
                name for content in contents for name, value in bytes_of.items() if value in content
            }


async def remove(erased_data: ErasedData) -> None:
    """Wait for autovacuum, which may see what was erased like any other transaction."""
    async with asyncio.timeout(PATIENCE_S):
        while not await erased_data.remove():
            await asyncio.sleep(0.05)


def erase(conn: psycopg.Connection, person: UUID) -> None:
    session = one(conn, "select auth.start_session(%s, 'token')", person)
    with acting(conn, person, session=session):
        conn.execute("select public.erase_account()")


@pytest.mark.anyio
async def test_erased_bytes_leave_all_files_once_nobody_can_see_them_any_more(
    database: Database, files: Callable[[], Iterator[Path]]
) -> None:
    stored = {"name", "email", "hash", "first <f4", "last <f4", "first <f2", "last <f2"}
    erased_data = ErasedData(database.owner)
    with connect(database.owner, autocommit=True) as conn, connect(database.owner) as reader:
        person, bytes_of = join(conn, "female")
        _, of_another = join(conn, "male")
        conn.execute("analyze")
        conn.execute("checkpoint")
        reader.execute("set transaction isolation level repeatable read")
        reader.execute("select from public.profiles")
        erase(conn, person)
        conn.execute("checkpoint")
        assert found(files, bytes_of) == stored, "the search finds what is there"

        assert not await erased_data.remove(), "a transaction still sees it"
        reader.rollback()
        assert found(files, bytes_of) == stored
        await remove(erased_data)

        assert found(files, bytes_of | {"birth date": BIRTH_DATE.encode()}) == set()
        assert found(files, of_another) == stored
        assert one(conn, "select count(*) from automatch.erasures") == 0


def test_command_removes_it_from_another_server(database: Database, cluster: TestCluster) -> None:
    home = cluster.settings.home
    with connect(database.owner, autocommit=True) as conn:
        erase(conn, join(conn, "female")[0])

        while (
            done := call_command(home, "db", "scrub", DATABASE_URL=database.owner)
        ).returncode == 1:
            assert "try again" in done.stdout

        assert (done.returncode, done.stdout) == (0, "Erased data is out of the tables.\n")
        assert one(conn, "select count(*) from automatch.erasures") == 0


@pytest.mark.anyio
async def test_large_tables_are_rewritten_once_a_day_and_all_others_each_time(
    database: Database,
) -> None:
    with connect(database.owner, autocommit=True) as conn:
        for size, is_complete in ((0, [True, False, False]), (2**30, [True, True, True])):
            erased_data = ErasedData(database.owner, large_bytes=size)
            for expected in is_complete:
                erase(conn, join(conn, "female")[0])

                if expected:
                    await remove(erased_data)
                else:
                    assert not await erased_data.remove()


@pytest.mark.anyio
async def test_table_in_use_is_rewritten_later(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Two seconds, for each table that is in use.
    quick = {**postgres.erased_data._SQL, "bound_wait": "set lock_timeout = '50ms'"}
    monkeypatch.setattr(postgres.erased_data, "_SQL", quick)
    erased_data = ErasedData(database.owner)
    with connect(database.owner, autocommit=True) as conn, connect(database.worker) as user:
        erase(conn, join(conn, "female")[0])
        user.execute("select pg_advisory_xact_lock(1)")
        user.execute("set role service_role")
        user.execute("lock table public.faces in access share mode")
        assert not await erased_data.remove()
        user.rollback()

        await remove(erased_data)
