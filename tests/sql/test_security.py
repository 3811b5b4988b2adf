"""Who may do what: the three logins, the three roles, every table and every function."""

from __future__ import annotations

import json
from uuid import uuid4

import psycopg
import pytest
from psycopg import sql
from psycopg.errors import InsufficientPrivilege

from tests.support.build import connect, one

OUR_SCHEMAS = "array['public', 'automatch', 'auth', 'cron', 'net', 'vault']::regnamespace[]"
TABLES = f"""
    select c.oid::regclass::text from pg_class as c
    where c.relkind in ('r', 'p') and c.relnamespace = any ({OUR_SCHEMAS})
"""
FUNCTIONS = f"""
    select p.oid::regprocedure::text, p.proconfig from pg_proc as p
    where p.pronamespace = any ({OUR_SCHEMAS})
"""
READABLE = {
    "faces": {"id", "profile_id", "created_at"},
    "face_embeddings": {"face_id", "model", "quality", "created_at"},
    "matches": {"id", "face_a_id", "face_b_id", "created_at"},
    "match_jobs": {
        *("id", "face_id", "user_id", "status", "attempts", "max_attempts", "error_code"),
        *("error_message", "created_at", "started_at", "completed_at", "match_count", "timings"),
        *("face_boxes", "refused_picture", "request_id"),
    },
}
"""What a signed-in person may select of tables that are not shown whole."""
OF_COMPAT = {
    "anon": {"auth.uid", "auth.jwt", "auth.role"},
    "authenticated": {"auth.uid", "auth.jwt", "auth.role"},
    "service_role": {
        *("auth.uid", "auth.jwt", "auth.role"),
        *("net.http_get", "net.http_post", "net.http_delete"),
    },
    "automatch_api": {
        *("auth.uid", "auth.jwt", "auth.role", "auth.create_user", "auth.find_credentials"),
        *("auth.start_session", "auth.rotate_refresh_token", "auth.end_sessions"),
        *("auth.update_user", "auth.session_user_of", "auth.create_one_time_token"),
        *("auth.list_sessions_of", "auth.end_sessions_of", "auth.end_password"),
        *(
            "auth.start_operator_session",
            "auth.enter_password",
            "auth.list_sessions",
            "auth.request_email_change",
            "auth.confirm_email_change",
        ),
        "auth.find_email_change",
        *("auth.find_one_time_token", "auth.use_one_time_token"),
        *("auth.sign_up", "auth.resend_email_change"),
        *("auth.find_invitable", "auth.invite_imported", "auth.count_invitations"),
    },
    "automatch_worker": set(),
    "automatch_schedule": {"net.http_get", "net.http_post", "net.http_delete"},
}
"""What the SQL for plain Postgres grants beside automatch.access_rules."""
GRANTED = """
    select c.oid::regclass::text, a.grantee::regrole::text, lower(a.privilege_type), null
    from pg_class as c, aclexplode(c.relacl) as a
    where c.relkind in ('r', 'p', 'v', 'm', 'S') and a.grantee <> c.relowner
      and c.relnamespace in ('public'::regnamespace, 'automatch'::regnamespace)
    union all
    select c.oid::regclass::text, a.grantee::regrole::text, lower(a.privilege_type), t.attname
    from pg_class as c, pg_attribute as t, aclexplode(t.attacl) as a
    where t.attrelid = c.oid
      and c.relnamespace in ('public'::regnamespace, 'automatch'::regnamespace)
"""


def rows(conn, query, *parameters):
    return conn.execute(query, parameters).fetchall()


@pytest.mark.parametrize("login", ["api", "worker", "schedule"])
def test_logins_leave_no_temporary_tables_to_the_next_request(database, login):
    with connect(getattr(database, login)) as conn, pytest.raises(InsufficientPrivilege):
        conn.execute("create temporary table profiles (id uuid)")


@pytest.mark.parametrize("login", ["automatch_api", "automatch_worker", "automatch_schedule"])
def test_logins_have_no_power_of_their_own_and_own_nothing(conn, login):
    powers = rows(
        conn,
        "select rolsuper, rolcreatedb, rolcreaterole, rolbypassrls, rolreplication, rolinherit"
        " from pg_roles where rolname = %s",
        login,
    )
    owned = one(
        conn,
        "select count(*) from pg_shdepend where deptype = 'o' and refobjid = %s::regrole",
        login,
    )

    assert powers == [(False,) * 6]
    assert owned == 0


@pytest.mark.parametrize(
    ("login", "roles"),
    [
        ("automatch_api", {"anon", "authenticated"}),
        ("automatch_worker", {"service_role"}),
        ("automatch_schedule", set()),
    ],
)
def test_logins_may_become_these_roles_and_no_other(conn, login, roles):
    others = rows(
        conn,
        "select rolname from pg_roles where rolname <> %s and pg_has_role(%s, oid, 'member')",
        *(login, login),
    )

    assert {name for (name,) in others} == roles


@pytest.mark.parametrize(
    ("login", "role"),
    [
        *(("api", role) for role in ("service_role", "automatch_worker", "postgres")),
        *(("worker", role) for role in ("anon", "authenticated", "automatch_api", "postgres")),
        *(("schedule", role) for role in ("service_role", "automatch_worker", "postgres")),
    ],
)
def test_login_cannot_take_a_role_that_is_not_its_own(rows_database, login, role):
    with connect(getattr(rows_database, login)) as conn, pytest.raises(InsufficientPrivilege):
        conn.execute(sql.SQL("set role {}").format(sql.Identifier(role)))


@pytest.mark.parametrize("login", ["api", "worker", "schedule"])
def test_login_that_became_nobody_reads_no_table(rows_database, conn, login):
    tables = {table for (table,) in rows(conn, TABLES)}
    if login == "schedule":
        tables -= {"cron.job", "cron.job_run_details", "net.http_request_queue"}
        tables -= {"net._http_response"}
    with connect(getattr(rows_database, login)) as stranger:
        for table in tables:
            with pytest.raises(InsufficientPrivilege), stranger.transaction():
                stranger.execute(f"select from {table}")

    assert len(tables) > 25


def test_every_table_has_row_level_security_that_binds_its_owner_too(conn):
    open_tables = rows(
        conn,
        f"select c.oid::regclass::text from pg_class as c where c.oid::regclass::text in ({TABLES})"
        " and not (c.relrowsecurity and c.relforcerowsecurity)",
    )

    assert open_tables == []


def test_no_view_reads_around_the_policies(conn):
    views = rows(
        conn,
        "select oid::regclass::text from pg_class"
        f" where relkind in ('v', 'm') and relnamespace = any ({OUR_SCHEMAS})"
        " and not coalesce('security_invoker=true' = any (reloptions), false)",
    )

    assert views == []


def test_nothing_is_granted_to_everybody(conn):
    functions = rows(
        conn,
        "select p.oid::regprocedure::text"
        " from pg_proc as p, aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) as a"
        f" where p.pronamespace = any ({OUR_SCHEMAS}) and a.grantee = 0",
    )
    relations = rows(
        conn,
        "select c.oid::regclass::text from pg_class as c, aclexplode(c.relacl) as a"
        f" where c.relnamespace = any ({OUR_SCHEMAS}) and a.grantee = 0",
    )

    assert functions == []
    assert relations == []


def test_every_function_pins_its_search_path_with_temporary_objects_last(conn):
    loose = [
        name
        for name, settings in rows(conn, FUNCTIONS)
        if not any(
            setting.startswith("search_path=") and setting.endswith(", pg_temp")
            for setting in settings or []
        )
    ]

    assert loose == []


@pytest.mark.parametrize("role", OF_COMPAT)
def test_role_may_call_the_functions_of_the_rules_and_no_other(conn, role):
    conn.execute("set search_path = pg_catalog")
    callable_names = rows(
        conn,
        f"select name from ({FUNCTIONS}) as f (name, settings)"
        " where has_function_privilege(%s, name, 'execute')"
        " and has_schema_privilege(%s, (select pronamespace from pg_proc"
        " where oid = name::regprocedure), 'usage')",
        *(role, role),
    )
    rules = rows(
        conn,
        "select object from automatch.access_rules where kind = 'function' and grantee = %s",
        role,
    )

    assert {name.split("(")[0] for (name,) in callable_names} == OF_COMPAT[role] | {
        name for (name,) in rules
    }


def test_roles_have_the_rights_of_the_rules_on_tables_and_no_other(conn):
    conn.execute("set search_path = pg_catalog")
    rules = rows(
        conn,
        "select object, grantee, privileges from automatch.access_rules"
        " where kind in ('table', 'sequence')",
    )
    ruled = set()
    for table, role, privileges in rules:
        verbs, _, columns = privileges.rstrip(")").partition(" (")
        if columns:
            ruled |= {(table, role, verbs, column) for column in columns.split(", ")}
        else:
            ruled |= {(table, role, verb, None) for verb in verbs.split(", ")}

    assert set(rows(conn, GRANTED)) == ruled


def test_every_function_of_public_is_in_the_rules(conn):
    forgotten = rows(
        conn,
        "select p.proname from pg_proc as p where p.pronamespace = 'public'::regnamespace"
        " and not exists (select from automatch.access_rules as r"
        " where r.kind = 'function' and r.object = 'public.' || p.proname)",
    )

    assert forgotten == []


def test_every_rule_names_something_that_is_there(conn):
    gone = rows(
        conn,
        "select r.kind, r.object from automatch.access_rules as r where case r.kind"
        " when 'schema' then to_regnamespace(r.object) is null"
        " when 'function' then not exists (select from pg_proc as p"
        " where r.object = p.pronamespace::regnamespace || '.' || p.proname)"
        " else to_regclass(r.object) is null end",
    )

    assert gone == []


def test_policies_of_our_tables_are_those_of_the_rules(conn):
    conn.execute("set search_path = pg_catalog")
    there = rows(
        conn,
        "select polrelid::regclass::text, polname, polroles::regrole[]::text[], polcmd::text"
        " from pg_policy where polrelid::regclass::text ~ '^(public|automatch)[.]'"
        " and not (select relispartition from pg_class where oid = polrelid)",
    )
    ruled = rows(
        conn,
        "select object, policy, array[grantee],"
        " case when privileges like '%%insert%%' then '*' else 'r' end"
        " from automatch.access_rules where kind = 'table'",
    )
    owner = one(conn, "select current_user::text")

    assert {(t, p, *r, c) for t, p, r, c in there if p != "owner"} == {
        (t, p, *r, c) for t, p, r, c in ruled
    }
    assert {(tuple(r), c) for _, p, r, c in there if p == "owner"} == {((owner,), "*")}


def test_person_may_select_these_columns_and_no_other(conn):
    """As the guide says: no embedding, no path of a photo, no exact similarity."""
    columns = rows(
        conn,
        "select object, privileges from automatch.access_rules"
        " where kind = 'table' and grantee = 'authenticated' and privileges <> 'select' order by 1",
    )

    assert {
        table: set(privileges.removeprefix("select (").removesuffix(")").split(", "))
        for table, privileges in columns
    } == {f"public.{table}": names for table, names in READABLE.items()}


def test_service_role_writes_rows_and_can_hang_no_trigger_on_a_table(conn):
    held = rows(
        conn,
        "select distinct a.privilege_type from pg_class as c, aclexplode(c.relacl) as a"
        f" where c.relkind in ('r', 'p') and c.relnamespace = any ({OUR_SCHEMAS})"
        " and a.grantee = 'service_role'::regrole",
    )

    assert {right for (right,) in held} == {"SELECT", "INSERT", "UPDATE", "DELETE"}


SPY = """
    create function pg_temp.spy(pg_catalog.text) returns pg_catalog.bool language plpgsql
    as $$ begin raise notice '%', current_user; return true; end $$
"""
HIJACKED = ["uuid", "text", "jsonb", "bytea", "timestamptz", "date"]
ATTACKED = [
    "select auth.create_user('spied@example.org', 'x', '{}')",
    "select auth.rotate_refresh_token('a', 'b', '1 s', '1 s')",
    "select auth.start_session(gen_random_uuid(), 'a')",
    "select public.feed_versions('{}')",
    "set local role authenticated",
    "select public.feed_page()",
    "select public.list_schools()",
    "select public.viewable_photo(gen_random_uuid())",
    "select public.save_profile('Person', 'UIT', 'male', '2000-01-01')",
    "select public.record_consent(true, '2026-11')",
    "select public.record_upload(gen_random_uuid(), 'x', repeat('0', 64))",
    "select public.dismiss_match(gen_random_uuid())",
    "select public.block_profile(gen_random_uuid())",
    "select public.unblock_profile(gen_random_uuid())",
    "select public.undo_dismissal(gen_random_uuid())",
    "select public.list_hidden_profiles()",
    "select public.match_pool()",
    "select public.explain_match_job(gen_random_uuid())",
    "select public.delete_face(gen_random_uuid())",
    "select public.choose_face(gen_random_uuid(), 0)",
    "select public.erase_account()",
    "select public.set_discoverable(true)",
]


def state_after(conn, statement):
    # The change of the role has to outlive its savepoint, and does when nothing fails.
    try:
        with conn.transaction():
            conn.execute(statement)
    except psycopg.Error as exc:
        return exc.sqlstate
    return None


@pytest.fixture
def open_to_temporary_objects(rows_database):
    """Give the test's database as one where the login may make temporary objects."""
    with connect(rows_database.owner, autocommit=True) as conn:
        conn.execute("grant temporary on database rows to automatch_api")
        yield rows_database
        conn.execute("revoke temporary on database rows from automatch_api")


def test_temporary_types_of_a_login_do_not_run_inside_functions_of_the_owner(
    open_to_temporary_objects,
):
    ran_as = []
    with connect(open_to_temporary_objects.api) as conn:
        conn.add_notice_handler(lambda notice: ran_as.append(notice.message_primary))
        conn.execute(SPY)
        for name in HIJACKED:
            conn.execute(
                f"create domain pg_temp.{name} as pg_catalog.{name}"
                " check (pg_temp.spy(value::pg_catalog.text))"
            )
        conn.execute("select 'x'::text")
        assert ran_as == ["automatch_api"], "the trap itself works"
        conn.execute(
            "select set_config('request.jwt.claims', %s, true)",
            [json.dumps({"sub": str(uuid4())})],
        )
        ran_as.clear()
        for statement in ATTACKED:
            outcome = state_after(conn, statement)
            assert outcome in {None, "AM001", "23503", "42883"}, statement
        conn.rollback()

    assert "postgres" not in ran_as
