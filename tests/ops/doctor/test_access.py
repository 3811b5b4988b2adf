"""The doctor on access: one thing is opened at a time, and its check says which."""

from __future__ import annotations

import pytest

from automatch.ops.doctor.check import Health
from automatch.ops.doctor.checkup import CHECKS, examine
from automatch.ops.doctor.installation import open_installation
from tests.support.doctor import Patient, bad

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize(
    "table", ["public.profiles", "automatch.feed_counters", "public.face_index_3"]
)
async def test_row_level_security_that_is_off_is_turned_on_again(
    patient: Patient, table: str
) -> None:
    await patient.run(f"alter table {table} disable row level security")
    found = await patient.look("access.rls")
    assert found.health is Health.FAIL
    assert table in found.says

    assert (await patient.repair("access.rls")).health is Health.OK
    assert await patient.audited() == [{"check": "access.rls", "tables": [table]}]


async def test_row_level_security_that_does_not_bind_the_owner(patient: Patient) -> None:
    await patient.run("alter table matches no force row level security")
    assert (await patient.look("access.rls")).health is Health.FAIL

    assert (await patient.repair("access.rls")).health is Health.OK


async def test_table_of_somebody_else_is_told_and_left_alone(patient: Patient) -> None:
    await patient.run("create table public.grades (student text)")
    closed = await patient.look("access.rls")
    await patient.run("grant select on public.grades to authenticated")
    opened = await patient.look("access.rls")

    assert (closed.health, opened.health) == (Health.WARN, Health.FAIL)
    assert "public.grades" in opened.says
    assert opened.repair is None


@pytest.mark.parametrize(
    ("statement", "check", "health", "told"),
    [
        (
            "create policy all_in on matches for insert to authenticated with check (true)",
            *("access.policies", Health.FAIL, "all_in of public.matches"),
        ),
        (
            "create table public.notes (body text); alter table notes enable row level security",
            *("access.policies", Health.WARN, "public.notes"),
        ),
        (
            "create view public.people as select name from profiles;"
            " grant select on public.people to authenticated",
            *("access.views", Health.FAIL, "public.people"),
        ),
        (
            "create materialized view public.schools as select school from profiles;"
            " grant select on public.schools to anon",
            *("access.views", Health.WARN, "public.schools"),
        ),
        (
            "create function public.loose() returns integer language sql as 'select 1'",
            *("access.functions", Health.WARN, "loose()"),
        ),
        (
            "create function public.looser() returns integer language sql security definer"
            " as 'select 1'",
            *("access.functions", Health.FAIL, "looser()"),
        ),
        (
            "grant execute on function list_match_jobs to anon",
            *("access.callable", Health.WARN, "list_match_jobs"),
        ),
        (
            "create view public.accounts with (security_invoker = on) as"
            " select email from auth.users; grant select on public.accounts to authenticated",
            *("access.users", Health.FAIL, "public.accounts"),
        ),
        (
            "grant select (email) on auth.users to authenticated",
            *("access.users", Health.FAIL, "auth.users"),
        ),
        (
            "alter extension vector set schema public",
            *("access.extensions", Health.WARN, "vector"),
        ),
        (
            "grant select on faces to authenticated",
            *("access.rights", Health.FAIL, "authenticated may select public.faces.embedding"),
        ),
        (
            "grant insert on matches to authenticated",
            *("access.rights", Health.FAIL, "authenticated may insert public.matches"),
        ),
        (
            "grant select on profiles to anon",
            *("access.rights", Health.FAIL, "anon may select public.profiles"),
        ),
    ],
)
async def test_what_is_open_is_told(
    patient: Patient, statement: str, check: str, health: Health, told: str
) -> None:
    assert (await patient.look(check)).health is Health.OK
    for part in statement.split(";"):
        await patient.run(part)

    found = await patient.look(check)

    assert found.health is health
    assert told in found.says
    assert found.fix


async def test_login_with_powers(patient: Patient) -> None:
    # Roles belong to the whole cluster, which other tests use: nothing may be committed.
    async with open_installation(patient.settings, actor="test") as site:
        await site.database.execute("set default_transaction_read_only = off")
        async with site.database.transaction(force_rollback=True):
            await site.database.execute("alter role automatch_api bypassrls")
            await site.database.execute("grant service_role to automatch_api")
            (examined,) = await examine(
                site, [check for check in CHECKS if check.name == "access.logins"]
            )

    assert examined.result.health is Health.FAIL
    assert "automatch_api sees past row level security" in examined.result.says
    assert "automatch_api may become service_role" in examined.result.says


async def test_nothing_is_open_after_a_migration(patient: Patient) -> None:
    found = await patient.look_at_all()

    assert [name for name in bad(found) if name.startswith("access.")] == []
