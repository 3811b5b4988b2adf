"""docs/supabase.md: its commands and its SQL, on a database set up like a Supabase project.

`UPDATE_DOCS=1` writes the lists of tables and functions of its last section anew.
"""

from __future__ import annotations

import asyncio
import os
import re
import shlex
from collections.abc import Callable
from functools import partial
from pathlib import Path

import psycopg
import pytest
from typer.testing import CliRunner

from automatch.cli.main import create_cli
from automatch.settings.load import setting_names
from automatch.store.installation.migrate import MIGRATIONS
from tests.support.build import a_face, a_job, a_profile, connect
from tests.support.command import call_command
from tests.support.doctor import write_secrets
from tests.support.postgres import Database
from tests.support.supabase import AuthServer, SupabaseCluster
from tests.support.supabase_cli import push

pytestmark = pytest.mark.anyio

_DOCS = Path(__file__).parents[2] / "docs" / "supabase.md"
_LEDGER = "select count(*) from supabase_migrations.schema_migrations where name like 'automatch%'"
_OURS = """
    select 'function', p.proname::text
    from pg_proc as p where p.pronamespace = 'public'::regnamespace
    union
    select 'table', c.relname::text from pg_class as c
    where c.relnamespace = 'public'::regnamespace and c.relkind in ('r', 'p', 'v', 'm')
      and not c.relispartition
    order by 1, 2
"""
_TABLES = re.compile(r"(?<=drop table if exists\n).*?(?=\n    cascade;)", re.DOTALL)
_FUNCTIONS = re.compile(r"(?<=array array\[\n).*?(?=\n    \] loop)", re.DOTALL)


def section(title: str) -> str:
    return _DOCS.read_text().partition(f"\n## {title}\n")[2].partition("\n## ")[0]


def blocks(title: str, language: str) -> list[str]:
    found = re.findall(rf"```{language}\n(.*?)```", section(title), re.DOTALL)
    assert found, title
    return found


def commands(text: str) -> list[list[str]]:
    return [
        shlex.split(line)[1:]
        for block in re.findall(r"```bash\n(.*?)```", text, re.DOTALL)
        for line in block.splitlines()
        if line.startswith("automatch ")
    ]


@pytest.fixture
def ours(migrated_project: Database) -> dict[str, list[str]]:
    """Give the names of what our migrations make in public."""
    with connect(migrated_project.owner) as conn:
        rows = conn.execute(_OURS).fetchall()
    return {kind: [name for k, name in rows if k == kind] for kind in ("function", "table")}


async def test_push_and_migrate_as_told(
    supabase_cluster: SupabaseCluster,
    project: Database,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    home = tmp_path / "home"
    # Those of the other projects: the logins are the cluster's.
    write_secrets(home, supabase_cluster.secrets)
    monkeypatch.chdir(tmp_path)
    run = partial(asyncio.to_thread, call_command, home, DATABASE_URL=project.owner)
    written, pushed = [block.splitlines() for block in blocks("Push", "bash")]
    assert written == ["automatch db export", "supabase db push"]
    assert pushed[1:] == ["automatch migrate"]

    exported = await run(*shlex.split(written[0])[1:])
    versions = await push(project.owner, Path("supabase", "migrations"))
    migrated = await run(*shlex.split(pushed[1])[1:])
    checked = await run("db", "export", "--check")

    assert exported.returncode == migrated.returncode == checked.returncode == 0, migrated.stderr
    assert len(versions) == len(exported.stdout.splitlines()) == len(list(MIGRATIONS.iterdir()))
    assert "up to date" in migrated.stdout


async def test_statements_of_verify_work_and_say_that_all_is_well(
    supabase_cluster: SupabaseCluster, migrated_project: Database
) -> None:
    AuthServer(supabase_cluster, migrated_project).sign_up("person@example.org")
    with connect(migrated_project.owner) as conn:
        a_job(conn, a_face(conn, a_profile(conn)))
        for block in blocks("Verify", "sql"):
            for statement in block.split(";\n"):
                if statement.strip():
                    cursor = conn.execute(statement.encode())
                    rows = cursor.fetchall()
                    assert rows, statement
                    for column in cursor.description or ():
                        if column.name in {"everybody_has_a_profile", "closed"}:
                            assert rows == [(True,)], statement


async def test_roll_back_leaves_a_project_as_it_was_and_fit_to_begin_again(
    supabase_cluster: SupabaseCluster,
    migrated_project: Database,
    ours: dict[str, list[str]],
    update_page: Callable[[], None],
) -> None:
    update_page()
    person = AuthServer(supabase_cluster, migrated_project).sign_up("person@example.org")
    with psycopg.connect(migrated_project.owner, autocommit=True) as conn:
        conn.execute("create table public.their_own (note text)")
        conn.execute("create function public.their_own() returns int return 1")
        block, logins = blocks("Roll back", "sql")
        conn.execute(block.encode())
        conn.execute(b"begin")
        for statement in logins.split(";\n"):
            # Other databases of the cluster have them too, unlike those of a project.
            if statement and not statement.startswith("drop role"):
                conn.execute(statement.encode())
        conn.execute(b"rollback")

        assert conn.execute(_OURS).fetchall() == [
            ("function", "their_own"),
            ("table", "their_own"),
        ]
        assert conn.execute(
            "select count(*) from pg_trigger"
            " where tgrelid = 'auth.users'::regclass and not tgisinternal"
        ).fetchone() == (0,)
        assert conn.execute(_LEDGER).fetchone() == (0,)
        conn.execute("drop function public.their_own()")
    assert await supabase_cluster.migrate(migrated_project) == [
        path.name[:14] for path in sorted(MIGRATIONS.glob("*.sql"))
    ]
    with connect(migrated_project.owner) as conn:
        assert conn.execute("select id from public.profiles").fetchall() == [(person,)]


@pytest.fixture
def update_page(ours: dict[str, list[str]]) -> Callable[[], None]:
    """Give what writes the lists of the page anew, where that is wanted."""

    def update() -> None:
        if "UPDATE_DOCS" in os.environ:
            tables = ", ".join(f"public.{name}" for name in ours["table"])
            functions = ", ".join(f"'{name}'" for name in ours["function"])
            page = _TABLES.sub(_wrapped(tables, 4), _DOCS.read_text(), count=1)
            _DOCS.write_text(_FUNCTIONS.sub(_wrapped(functions, 8), page, count=1))

    return update


def _wrapped(names: str, indent: int) -> str:
    lines = [""]
    for name in names.split(", "):
        if len(lines[-1]) + len(name) > 100:
            lines.append("")
        lines[-1] += name + ", "
    return "\n".join(" " * indent + line.rstrip() for line in lines).rstrip(",")


def test_commands_have_the_options_that_the_page_tells() -> None:
    told = commands(_DOCS.read_text())

    assert len(told) > 5
    for arguments in told:
        names = [word for word in arguments if not word.startswith("-")]
        options = [word for word in arguments if word.startswith("--")]
        path = names[:2] if names[0] in {"db", "jobs"} else names[:1]
        shown = CliRunner().invoke(create_cli(path[:1]), [*path, "--help"])
        assert shown.exit_code == 0, arguments
        for option in options:
            assert option in shown.stdout, arguments


def test_settings_of_the_page_exist() -> None:
    named = set(re.findall(r"AUTOMATCH_([A-Z_]+)", _DOCS.read_text()))

    assert named <= {name.upper() for name in setting_names()}


def test_key_of_the_schedule_lies_in_the_vault_and_can_be_made_anew(
    migrated_project: Database,
) -> None:
    with connect(migrated_project.owner) as conn:
        keys = []
        for _ in range(2):
            conn.execute("select automatch.rotate_trigger_key()")
            keys += conn.execute(
                "select decrypted_secret from vault.decrypted_secrets"
                " where name = 'automatch_trigger_key'"
            ).fetchall()

    assert len(keys) == 2
    assert keys[0] != keys[1]
