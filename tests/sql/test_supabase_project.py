"""Auto-Match in a Supabase project: applied by a role that is no superuser, beside its services."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from psycopg.types.json import Jsonb

from automatch.store.installation.migrate import MIGRATIONS
from tests.support import build
from tests.support.build import acting, connect, one, refused
from tests.support.postgres import Database
from tests.support.supabase import AuthServer, SupabaseCluster
from tests.support.supabase_cli import PushRefusedError, push

pytestmark = pytest.mark.anyio

OURS = sorted(path.name[:14] for path in MIGRATIONS.glob("*.sql"))
THEIRS = {
    "20260101000000_notes.sql": "create table public.notes (id int primary key);\n",
    "20261123000350_more.sql": "alter table public.notes add column body text;\n",
    "20270101000000_later.sql": (
        "alter table public.notes add column person uuid references public.profiles (id);\n"
    ),
}

ROLES = [
    *("anon", "authenticated", "service_role"),
    *("automatch_api", "automatch_worker", "automatch_schedule"),
]
RIGHTS = """
    with roles as (select unnest(%s::text[]) as role),
    spaces as (select array['public', 'automatch']::regnamespace[] as ours)
    select role, p.oid::regprocedure::text, 'execute'
    from roles, spaces, pg_proc as p
    where p.pronamespace = any (ours) and has_function_privilege(role, p.oid, 'execute')
    union
    select role, c.oid::regclass::text, verb
    from roles, spaces, pg_class as c, unnest(array[
        'select', 'insert', 'update', 'delete', 'truncate', 'references', 'trigger'
    ]) as verb
    where c.relkind in ('r', 'p', 'v', 'm') and c.relnamespace = any (ours)
      and has_table_privilege(role, c.oid, verb)
    union
    select role, format('%%s.%%s', a.attrelid::regclass, a.attname), verb
    from roles, spaces, pg_class as c, pg_attribute as a,
        unnest(array['select', 'insert', 'update', 'references']) as verb
    where c.relkind in ('r', 'p', 'v', 'm') and c.relnamespace = any (ours)
      and a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
      and has_column_privilege(role, c.oid, a.attnum, verb)
    union
    select role, c.oid::regclass::text, verb
    from roles, spaces, pg_class as c, unnest(array['usage', 'select', 'update']) as verb
    where c.relnamespace = any (ours)
      and case when c.relkind = 'S' then has_sequence_privilege(role, c.oid, verb) end
    union
    select role, schema, verb
    from roles, unnest(array['public', 'automatch', 'extensions', 'supabase_migrations']) as schema,
        unnest(array['usage', 'create']) as verb
    where has_schema_privilege(role, schema, verb)
"""
OF_SUPABASE = """
    select p.oid::regprocedure::text, p.prosrc, p.proacl::text
    from pg_proc as p where p.pronamespace in ('auth'::regnamespace, 'vault'::regnamespace)
    union all
    select c.oid::regclass::text, pg_get_userbyid(c.relowner), c.relacl::text
    from pg_class as c
    where c.relnamespace in ('auth'::regnamespace, 'storage'::regnamespace, 'vault'::regnamespace)
    union all
    select n.nspname, pg_get_userbyid(n.nspowner), n.nspacl::text from pg_namespace as n
    where n.nspname in ('auth', 'storage', 'vault', 'realtime')
    union all
    select r.rolname, r.rolconfig::text, null from pg_roles as r where r.rolname !~ '^automatch_'
    union all
    select s.setdatabase::text, s.setconfig::text, null from pg_db_role_setting as s
    where s.setdatabase <> 0
    order by 1, 2
"""


def fetch(dsn: str, query: str, *parameters: object) -> list[tuple[Any, ...]]:
    with psycopg.connect(dsn, autocommit=True) as conn:
        return conn.execute(query.encode(), parameters or None).fetchall()


def execute(dsn: str, statement: str, *parameters: object) -> None:
    with psycopg.connect(dsn, autocommit=True) as conn:
        conn.execute(statement.encode(), parameters or None)


def rights(conn: psycopg.Connection) -> set[tuple[str, str, str]]:
    return set(conn.execute(RIGHTS, [ROLES]).fetchall())


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Give the folder of a project: the operator's own migrations with ours between them."""
    folder = tmp_path / "supabase" / "migrations"
    shutil.copytree(MIGRATIONS, folder)
    for name, text in THEIRS.items():
        (folder / name).write_text(text)
    return folder


@pytest.fixture
def there(migrated_project: Database) -> Iterator[psycopg.Connection]:
    """Give a connection of `postgres` to a migrated project."""
    with connect(migrated_project.owner) as conn:
        yield conn


async def test_migrations_need_no_superuser_and_leave_alone_what_is_supabases(
    supabase_cluster: SupabaseCluster, project: Database
) -> None:
    before = fetch(project.owner, OF_SUPABASE)
    assert fetch(project.owner, "select rolsuper from pg_roles where rolname = current_user") == [
        (False,)
    ]

    first = await supabase_cluster.migrate(project)
    again = await supabase_cluster.migrate(project)

    assert (first, again) == (OURS, [])
    assert fetch(project.owner, OF_SUPABASE) == before
    assert fetch(project.api, "select current_user::text") == [("automatch_api",)]


async def test_twenty_concurrent_runs_apply_each_file_once(
    supabase_cluster: SupabaseCluster, project: Database
) -> None:
    runs = await asyncio.gather(*(supabase_cluster.migrate(project) for _ in range(20)))

    assert sorted(runs, key=len) == [[]] * 19 + [OURS]


async def test_push_applies_all_beside_the_operators_own_and_then_nothing(
    supabase_cluster: SupabaseCluster, project: Database, folder: Path
) -> None:
    first = await push(project.owner, folder)
    again = await push(project.owner, folder)
    migrated = await supabase_cluster.migrate(project)

    assert first == sorted([*OURS, *(name[:14] for name in THEIRS)])
    assert (again, migrated) == ([], [])
    # Without this a push alone leaves the three logins without a password.
    assert fetch(project.worker, "select current_user::text") == [("automatch_worker",)]


async def test_push_after_migrate_needs_the_files_and_has_nothing_to_do(
    supabase_cluster: SupabaseCluster, project: Database, folder: Path, tmp_path: Path
) -> None:
    await supabase_cluster.migrate(project)
    (tmp_path / "empty").mkdir()

    with pytest.raises(PushRefusedError, match="not found in the folder"):
        await push(project.owner, tmp_path / "empty")
    with pytest.raises(PushRefusedError, match="20260101000000"):
        await push(project.owner, folder)
    assert await push(project.owner, folder, include_all=True) == [name[:14] for name in THEIRS]


async def test_migrate_goes_on_where_a_push_of_an_older_version_stopped(
    supabase_cluster: SupabaseCluster, project: Database, folder: Path, tmp_path: Path
) -> None:
    (folder / "20270101000000_later.sql").unlink()
    await push(project.owner, folder)
    newer = tmp_path / "newer"
    shutil.copytree(MIGRATIONS, newer)
    (newer / "20990101000000_automatch_more.sql").write_text("create table automatch.more ();")

    assert await supabase_cluster.migrate(project, newer) == ["20990101000000"]


async def test_default_grants_of_a_project_open_nothing(
    conn: psycopg.Connection, there: psycopg.Connection
) -> None:
    more, less = rights(there) - rights(conn), rights(conn) - rights(there)

    # The service passes every policy anyway; what it may call besides is no secret to it.
    assert {right for right in more if (right[0], right[2]) != ("service_role", "execute")} == set()
    assert less == set()


async def test_project_without_default_grants_gives_the_same_rights(
    supabase_cluster: SupabaseCluster, project: Database, there: psycopg.Connection
) -> None:
    for kind in ("tables", "functions", "sequences"):
        execute(
            supabase_cluster.as_admin(project),
            f"alter default privileges for role postgres in schema public revoke all on {kind}"
            " from anon, authenticated, service_role",
        )

    await supabase_cluster.migrate(project)

    with connect(project.owner) as conn:
        less = rights(there) - rights(conn)
        assert rights(conn) <= rights(there)
    # What was granted by default is no more than the service may do anyway.
    assert {role for role, _, _ in less} <= {"service_role"}


async def test_vector_in_public_is_used_where_it_is(
    supabase_cluster: SupabaseCluster, project: Database
) -> None:
    admin = supabase_cluster.as_admin(project)
    execute(admin, "drop extension vector")
    execute(admin, "create extension vector schema public")

    await supabase_cluster.migrate(project)

    with connect(project.owner) as conn:
        embedding = build.unit(1)
        face = build.a_face(conn, build.a_profile(conn, gender="female"), embedding)
        other = build.a_face(conn, build.a_profile(conn, gender="male"), embedding)
        found = one(
            conn,
            "select face_id from public.find_similar_faces_filtered("
            " (select embedding from public.face_embeddings where face_id = %s), 'UIT', 'female')",
            face,
        )
    assert found == other
    assert fetch(project.owner, "select extnamespace::regnamespace::text from pg_extension"
                 " where extname = 'vector'") == [("public",)]  # fmt: skip


async def test_accounts_of_before_and_after_have_a_profile_and_take_it_along(
    supabase_cluster: SupabaseCluster, project: Database
) -> None:
    auth = AuthServer(supabase_cluster, project)
    old = auth.sign_up("old@example.org")
    await supabase_cluster.migrate(project)
    new = auth.sign_up("new@example.org")
    by_phone = auth.sign_up(None)
    profiles = "select id, email from public.profiles order by email"

    assert fetch(project.owner, profiles) == [
        (new, "new@example.org"),
        (old, "old@example.org"),
        (by_phone, None),
    ]
    auth.delete(old)
    assert len(fetch(project.owner, profiles)) == 2


async def test_person_erases_their_account_while_signed_in(
    supabase_cluster: SupabaseCluster, migrated_project: Database
) -> None:
    auth = AuthServer(supabase_cluster, migrated_project)
    leaves, stays = auth.sign_up("leaves@example.org"), auth.sign_up("stays@example.org")
    session = auth.sign_in(leaves)
    with connect(migrated_project.owner) as conn:
        conn.execute("update profiles set birth_date = '2000-02-29' where id = %s", [leaves])
        build.record_consent(conn, leaves, "granted")
        build.a_face(conn, leaves)
    with connect(migrated_project.owner) as conn:
        for claimed in (uuid4(), auth.sign_in(stays)):
            claims = {"sub": str(leaves), "session_id": str(claimed), "external": True}
            assert not one(conn, "select public.is_session_live(%s)", Jsonb(claims))
            with refused("token_invalid"), acting(conn, leaves, session=claimed):
                conn.execute("select public.erase_account()")
        with acting(conn, leaves, session=session):
            conn.execute("select public.erase_account()")

    assert fetch(migrated_project.owner, "select id from auth.users") == [(stays,)]
    assert fetch(migrated_project.owner, "select id from public.profiles") == [(stays,)]
    assert fetch(migrated_project.owner, "select count(*) from public.faces") == [(0,)]


async def test_realtime_publishes_matches_without_what_a_person_may_not_see(
    there: psycopg.Connection,
) -> None:
    published = there.execute(
        "select tablename, attnames from pg_publication_tables where pubname = 'supabase_realtime'"
    ).fetchall()
    readable = there.execute(
        "select array_agg(attname order by attnum) from pg_attribute"
        " where attrelid = 'public.matches'::regclass and attnum > 0"
        " and has_column_privilege('authenticated', attrelid, attnum, 'select')"
    ).fetchone()

    assert published == [("matches", ["id", "face_a_id", "face_b_id", "created_at"])]
    assert readable == (["id", "face_a_id", "face_b_id", "created_at"],)
    # What Realtime asks for each row and subscriber: whether the policy lets them read it.
    assert one(there, "select relrowsecurity from pg_class where oid = 'public.matches'::regclass")


@pytest.mark.parametrize(
    "change",
    [
        "drop publication supabase_realtime",
        "alter publication supabase_realtime owner to supabase_admin",
        "drop publication supabase_realtime; create publication supabase_realtime for all tables",
    ],
)
async def test_publication_that_is_not_ours_to_change_is_left(
    supabase_cluster: SupabaseCluster, project: Database, change: str
) -> None:
    execute(supabase_cluster.as_admin(project), change)

    await supabase_cluster.migrate(project)

    assert (
        fetch(
            project.owner,
            "select from pg_publication_rel where prrelid = 'public.matches'::regclass",
        )
        == []
    )
