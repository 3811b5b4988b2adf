"""The migration runner: everything once, nothing by halves, any number at the same time."""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from automatch.errors.store import DatabaseNewerError, DatabaseUnavailableError, MigrationError
from automatch.postgres.addresses import login_passwords
from automatch.store.installation.migrate import COMPAT, MIGRATIONS, migrate, pending
from tests.support.supabase_cli import push
from tests.support.waiting import PATIENCE_S

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.postgres import Database, TestCluster

pytestmark = pytest.mark.anyio

LOGINS = """
do $$
begin
    if not exists (select from pg_roles where rolname = 'automatch_api') then
        create role automatch_api;
        create role automatch_worker;
        create role automatch_schedule;
    end if;
end
$$;
set search_path = nowhere;
create table public.visits (note text default '100 % of it; and %s');
"""
FILES = {
    "20260101000000_automatch_logins.sql": LOGINS,
    "20260102000000_automatch_numbers.sql": (
        "create table numbers (n int);\n"
        "insert into numbers values (1);\n"
        "insert into visits select 'to ' || current_setting('search_path');\n"
    ),
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Give a folder with two small migrations, and beside it one for the stand-ins."""
    folder = tmp_path / "migrations"
    folder.mkdir()
    (tmp_path / "compat").mkdir()
    for name, text in FILES.items():
        (folder / name).write_text(text)
    return folder


async def run(cluster: TestCluster, database: Database, folder: Path | None = None) -> list[str]:
    return await migrate(
        database.owner,
        login_passwords(cluster.secrets),
        migrations=folder or MIGRATIONS,
        compat=folder.with_name("compat") if folder else COMPAT,
    )


async def fetch(dsn: str, query: str) -> list[tuple[Any, ...]]:
    async with await psycopg.AsyncConnection.connect(dsn) as connection:
        return await (await connection.execute(query.encode())).fetchall()


async def execute(dsn: str, statement: str) -> None:
    async with await psycopg.AsyncConnection.connect(dsn) as connection:
        await connection.execute(statement.encode())


async def test_files_are_applied_in_order_and_recorded(
    cluster: TestCluster, blank_database: Database, folder: Path
) -> None:
    assert await pending(blank_database.owner, migrations=folder) == [
        "20260101000000",
        "20260102000000",
    ]

    applied = await run(cluster, blank_database, folder)

    assert applied == ["20260101000000", "20260102000000"]
    assert await pending(blank_database.owner, migrations=folder) == []
    ledger = (
        "select version, name, statements from supabase_migrations.schema_migrations order by 1"
    )
    assert await fetch(blank_database.owner, ledger) == [
        ("20260101000000", "automatch_logins", [LOGINS]),
        ("20260102000000", "automatch_numbers", [FILES["20260102000000_automatch_numbers.sql"]]),
    ]


async def test_pending_changes_nothing(blank_database: Database, folder: Path) -> None:
    await pending(blank_database.owner, migrations=folder)

    assert await fetch(
        blank_database.owner, "select to_regnamespace('supabase_migrations') is null"
    ) == [(True,)]


async def test_settings_of_one_file_do_not_reach_the_next(
    cluster: TestCluster, blank_database: Database, folder: Path
) -> None:
    await run(cluster, blank_database, folder)

    assert await fetch(blank_database.owner, "select note from visits") == [('to "$user", public',)]


ADDS = {"20260103000000_automatch_more.sql": "alter table public.numbers add column m int"}
_MIGRATION_WAITS = (
    "select exists (select from pg_stat_activity"
    " where application_name = 'automatch migrate' and wait_event_type = 'Lock')"
)


async def test_migration_that_waits_for_somebody_lets_others_go_first(
    cluster: TestCluster,
    blank_database: Database,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("automatch.store.installation.migrate._LOCK_PAUSE_S", 0.01)
    await run(cluster, blank_database, folder)
    for name, text in ADDS.items():
        (folder / name).write_text(text)
    async with await psycopg.AsyncConnection.connect(blank_database.owner) as holder:
        await holder.execute("select from public.numbers")
        migrating = asyncio.create_task(run(cluster, blank_database, folder))
        while await fetch(cluster.address.owner, _MIGRATION_WAITS) != [(True,)]:
            await asyncio.sleep(0)

        # Waits behind the migration, and goes on while that and the transaction before it last.
        async with asyncio.timeout(PATIENCE_S):
            assert await fetch(blank_database.owner, "select n from public.numbers") == [(1,)]
        assert not migrating.done()

    assert await migrating == ["20260103000000"]


async def test_migration_that_gets_no_lock_is_given_up_and_says_what_to_do(
    cluster: TestCluster,
    blank_database: Database,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("automatch.store.installation.migrate._LOCK_ATTEMPTS", 1)
    monkeypatch.setattr("automatch.store.installation.migrate._LOCK_PAUSE_S", 0)
    await run(cluster, blank_database, folder)
    for name, text in ADDS.items():
        (folder / name).write_text(text)
    async with await psycopg.AsyncConnection.connect(blank_database.owner) as holder:
        await holder.execute("select from public.numbers")

        with pytest.raises(MigrationError, match="end long transactions"):
            await run(cluster, blank_database, folder)

    assert await pending(blank_database.owner, migrations=folder) == ["20260103000000"]


async def test_second_run_applies_nothing(
    cluster: TestCluster, blank_database: Database, folder: Path
) -> None:
    await run(cluster, blank_database, folder)

    assert await run(cluster, blank_database, folder) == []
    assert await fetch(blank_database.owner, "select n from numbers") == [(1,)]


async def test_twenty_concurrent_runs_apply_each_file_once(
    cluster: TestCluster, blank_database: Database, folder: Path
) -> None:
    runs = await asyncio.gather(*(run(cluster, blank_database, folder) for _ in range(20)))

    assert sorted(runs, key=len) == [[]] * 19 + [["20260101000000", "20260102000000"]]
    assert await fetch(blank_database.owner, "select n from numbers") == [(1,)]


async def test_failing_file_leaves_nothing_of_itself_and_says_where(
    cluster: TestCluster, blank_database: Database, folder: Path
) -> None:
    broken = folder / "20260103000000_automatch_broken.sql"
    broken.write_text("create table half (n int);\n\nselect missing_column from numbers;\n")

    with pytest.raises(MigrationError) as caught:
        await run(cluster, blank_database, folder)

    assert caught.value.message == (
        '20260103000000_automatch_broken.sql, line 3: column "missing_column" does not exist'
    )
    assert await fetch(blank_database.owner, "select to_regclass('half') is null") == [(True,)]
    assert await pending(blank_database.owner, migrations=folder) == ["20260103000000"]
    broken.write_text("create table half (n int);")
    assert await run(cluster, blank_database, folder) == ["20260103000000"]


async def test_file_with_a_wrong_name_is_refused(
    cluster: TestCluster, blank_database: Database, folder: Path
) -> None:
    (folder / "0003_short.sql").write_text("select 1")

    with pytest.raises(MigrationError, match=r"0003_short\.sql"):
        await run(cluster, blank_database, folder)


async def test_newer_database_is_refused_by_name_and_left_alone(
    cluster: TestCluster, blank_database: Database, folder: Path
) -> None:
    later = folder / "20990101000000_automatch_later.sql"
    later.write_text("create table later ()")
    await run(cluster, blank_database, folder)
    later.unlink()
    (folder / "20260103000000_automatch_more.sql").write_text("create table more ()")

    with pytest.raises(DatabaseNewerError, match="20990101000000_automatch_later"):
        await run(cluster, blank_database, folder)
    with pytest.raises(DatabaseNewerError, match="20990101000000_automatch_later"):
        await pending(blank_database.owner, migrations=folder)

    assert await fetch(blank_database.owner, "select to_regclass('more') is null") == [(True,)]


async def test_migrations_of_the_operator_are_ignored(
    cluster: TestCluster, blank_database: Database, folder: Path
) -> None:
    await run(cluster, blank_database, folder)
    await execute(
        blank_database.owner,
        "insert into supabase_migrations.schema_migrations values"
        " ('20990101000000', null, 'their_own'), ('20990101000001', null, null)",
    )

    assert await run(cluster, blank_database, folder) == []


async def test_compat_files_follow_the_migrations_at_every_run(
    cluster: TestCluster, blank_database: Database, folder: Path
) -> None:
    (folder.with_name("compat") / "10_note.sql").write_text("insert into numbers values (2)")

    await run(cluster, blank_database, folder)
    await run(cluster, blank_database, folder)

    assert await fetch(blank_database.owner, "select count(*) from numbers where n = 2") == [(2,)]


async def test_compat_files_are_not_applied_to_a_supabase_project(
    cluster: TestCluster, blank_database: Database, folder: Path
) -> None:
    (folder.with_name("compat") / "10_note.sql").write_text("insert into numbers values (2)")
    await execute(blank_database.owner, "create schema auth authorization pg_database_owner")

    await run(cluster, blank_database, folder)

    assert await fetch(blank_database.owner, "select n from numbers") == [(1,)]


async def test_logins_get_their_passwords_and_need_them(
    cluster: TestCluster, blank_database: Database, folder: Path
) -> None:
    await run(cluster, blank_database, folder)

    for dsn, login in (
        (blank_database.api, "automatch_api"),
        (blank_database.worker, "automatch_worker"),
    ):
        assert await fetch(dsn, "select current_user::text") == [(login,)]
    with pytest.raises(psycopg.OperationalError, match="authentication failed"):
        await psycopg.AsyncConnection.connect(blank_database.api, password="wrong")


async def test_password_that_works_is_not_set_again(
    cluster: TestCluster, template: str, blank_database: Database
) -> None:
    # A pooler that remembers it would refuse the login.
    passwords = (
        "select rolname, rolpassword from pg_authid where rolname like 'automatch%' order by 1"
    )
    before = await fetch(cluster.address.owner, passwords)

    await run(cluster, blank_database)

    assert len(before) == 3
    assert await fetch(cluster.address.owner, passwords) == before


async def test_waiting_for_another_migration_times_out(
    cluster: TestCluster, blank_database: Database, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    impatient = {
        **dict(migrate.__globals__["_SQL"]),
        "bound_wait": "set lock_timeout = '50ms'",
    }
    monkeypatch.setitem(migrate.__globals__, "_SQL", impatient)
    async with await psycopg.AsyncConnection.connect(blank_database.owner) as other:
        await other.execute(impatient["lock"].encode())

        with pytest.raises(MigrationError, match="Another migration"):
            await run(cluster, blank_database, folder)


async def test_unreachable_server_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DatabaseUnavailableError):
        await pending(f"postgresql://postgres:hidden@/postgres?host={tmp_path}")


async def test_every_migration_of_the_package_is_ours_by_name() -> None:
    names = [path.name for path in MIGRATIONS.glob("*.sql")]

    assert names
    assert not [name for name in names if not re.fullmatch(r"\d{14}_automatch_\w+\.sql", name)]


async def test_package_migrates_twice(cluster: TestCluster, blank_database: Database) -> None:
    assert len(await run(cluster, blank_database)) == len(list(MIGRATIONS.glob("*.sql")))
    assert await run(cluster, blank_database) == []


async def test_package_migrates_statement_by_statement_in_one_pipeline(
    blank_database: Database,
) -> None:
    await push(blank_database.owner, MIGRATIONS)

    assert await fetch(
        blank_database.owner, "select to_regclass('public.matches') is not null"
    ) == [(True,)]
