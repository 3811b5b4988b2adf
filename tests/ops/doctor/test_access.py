"""The doctor's checks of access: one thing after the other is opened, and its check names it."""

from __future__ import annotations

import pytest
from psycopg import sql

from automatch.ops.doctor.check import Health
from automatch.ops.doctor.context import open_context
from automatch.ops.doctor.run_checks import CHECKS, run_checks
from tests.support.doctor import Installation, problems

pytestmark = pytest.mark.anyio


async def test_disabled_row_level_security_is_repaired(installation: Installation) -> None:
    tables = ["public.profiles", "automatch.feed_counters", "public.face_index_dlib_3"]
    for table in tables:
        await installation.run(f"alter table {table} disable row level security")
        found = await installation.check("access.rls")
        assert found.health is Health.FAIL
        assert table in found.message

        assert (await installation.repair("access.rls")).health is Health.OK
    assert await installation.audit_log() == [
        {"check": "access.rls", "tables": [table]} for table in tables
    ]


async def test_row_level_security_that_does_not_bind_the_owner_fails(
    installation: Installation,
) -> None:
    await installation.run("alter table matches no force row level security")
    assert (await installation.check("access.rls")).health is Health.FAIL

    assert (await installation.repair("access.rls")).health is Health.OK


async def test_table_of_an_operator_is_reported_and_not_repaired(
    installation: Installation,
) -> None:
    await installation.run("create table public.grades (student text)")
    closed = await installation.check("access.rls")
    await installation.run("grant select on public.grades to authenticated")
    opened = await installation.check("access.rls")

    assert (closed.health, opened.health) == (Health.WARN, Health.FAIL)
    assert "public.grades" in opened.message
    assert opened.repair is None


OPENED = [
    (
        "create policy all_in on matches for insert to authenticated with check (true)",
        "drop policy all_in on matches",
        *("access.policies", Health.FAIL, "all_in of public.matches"),
    ),
    (
        "create table public.notes (body text); alter table notes enable row level security",
        "drop table public.notes",
        *("access.policies", Health.WARN, "public.notes"),
    ),
    (
        "create view public.people as select name from profiles;"
        " grant select on public.people to authenticated",
        "drop view public.people",
        *("access.views", Health.FAIL, "public.people"),
    ),
    (
        "create materialized view public.schools as select school from profiles;"
        " grant select on public.schools to anon",
        "drop materialized view public.schools",
        *("access.views", Health.WARN, "public.schools"),
    ),
    (
        "grant execute on function list_match_jobs to anon",
        "revoke execute on function list_match_jobs from anon",
        *("access.callable", Health.WARN, "list_match_jobs"),
    ),
    (
        "grant select on face_embeddings to authenticated",
        "revoke select on face_embeddings from authenticated",
        *(
            "access.grants",
            Health.FAIL,
            "authenticated may select public.face_embeddings.embedding",
        ),
    ),
    (
        "grant insert on matches to authenticated",
        "revoke insert on matches from authenticated",
        *("access.grants", Health.FAIL, "authenticated may insert public.matches"),
    ),
    (
        "grant select on profiles to anon",
        "revoke select on profiles from anon",
        *("access.grants", Health.FAIL, "anon may select public.profiles"),
    ),
]
"""What is opened and closed again, and what the doctor says of it."""


async def test_open_access_is_reported(installation: Installation) -> None:
    for opened, closed, check, health, named in OPENED:
        for statement in opened.split(";"):
            await installation.run(statement)
        found = await installation.check(check)
        await installation.run(closed)

        assert found.health is health, opened
        assert named in found.message
        assert found.fix
        assert (await installation.check(check)).health is Health.OK, closed


async def test_login_with_powers_fails(installation: Installation) -> None:
    # Roles belong to the cluster that other tests use, so nothing may be committed.
    async with open_context(installation.settings, actor="test") as context:
        await context.database.execute("set default_transaction_read_only = off")
        async with context.database.transaction(force_rollback=True):
            await context.database.execute("alter role automatch_api bypassrls")
            await context.database.execute("grant service_role to automatch_api")
            name = context.database.info.dbname
            await context.database.execute(
                sql.SQL("grant temporary on database {} to public").format(sql.Identifier(name))
            )
            (checked,) = await run_checks(
                context, [check for check in CHECKS if check.name == "access.logins"]
            )

    assert checked.result.health is Health.FAIL
    assert "automatch_api sees past row level security" in checked.result.message
    assert "automatch_api may become service_role" in checked.result.message
    assert "automatch_worker makes temporary tables" in checked.result.message


async def test_migrated_database_has_no_open_access(installation: Installation) -> None:
    found = await installation.check_all("access.")

    assert found
    assert problems(found) == {}
