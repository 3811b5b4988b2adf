"""Access to the tables, as far as an operator can change it: policies, grants, views, logins.

That the migrations set all of it up is proven by tests/sql/test_security.py. What only concerns an
operator's own objects is left to the database linter of Supabase.
"""

from __future__ import annotations

from dataclasses import dataclass

from psycopg import sql

from automatch.ops.doctor.check import Check, Repair, Result, abbreviate, fail, ok, warn
from automatch.ops.doctor.context import CheckContext
from automatch.sql.statements import load

_SQL = load("doctor_access")


@dataclass(frozen=True, slots=True)
class _OpenTable:
    name: str
    enabled: bool
    has_policies: bool
    is_ours: bool
    is_reachable: bool


@dataclass(frozen=True, slots=True)
class _Policy:
    name: str
    policy: str | None


@dataclass(frozen=True, slots=True)
class _View:
    name: str
    kind: str


@dataclass(frozen=True, slots=True)
class _Grant:
    name: str
    role: str
    privilege: str


@dataclass(frozen=True, slots=True)
class _Power:
    name: str
    power: str
    remedy: str


async def _rls(context: CheckContext) -> Result:
    found = await context.all(_OpenTable, _SQL["open_tables"])
    if not found:
        return ok("It is enabled for every table, and binds the owner of our tables too.")
    with_policies = [table for table in found if table.has_policies]

    async def repair() -> None:
        async with context.repairing(
            "access.rls", tables=[table.name for table in with_policies]
        ) as conn:
            for table in with_policies:
                name = sql.Identifier(*table.name.split("."))
                await conn.execute(sql.SQL(_SQL["enable_rls"]).format(table=name))
                if table.is_ours:
                    await conn.execute(sql.SQL(_SQL["force_rls"]).format(table=name))

    names = abbreviate([table.name for table in found])
    message = f"Row level security is disabled, or does not bind the owner, for {names}."
    action = "force" if found[0].enabled else "enable"
    fix = f"alter table {found[0].name} {action} row level security"
    fix_it = (
        Repair(
            "Enable it where policies exist: "
            f"{abbreviate([table.name for table in with_policies])}",
            repair,
        )
        if with_policies
        else None
    )
    if any(table.is_reachable or table.has_policies for table in found):
        return fail(message, fix, fix_it)
    return warn(f"{message} No client role has privileges on them.", fix, fix_it)


async def _policies(context: CheckContext) -> Result:
    found = await context.all(_Policy, _SQL["policies"])
    permissive = [f"{row.policy} of {row.name}" for row in found if row.policy]
    if permissive:
        first = next(row for row in found if row.policy)
        return fail(
            f"Policies let clients write any row: {abbreviate(permissive)}.",
            f"`drop policy {first.policy} on {first.name}`, or restrict it to a person's own rows",
        )
    if found:
        return warn(
            f"Tables have row level security but no policy, so no client can read them: "
            f"{abbreviate([row.name for row in found])}.",
            f"`create policy readers on {found[0].name} for select using (false)`, with the rows "
            "that people may read in place of false",
        )
    return ok("Every table has policies, and none lets clients write any row.")


async def _views(context: CheckContext) -> Result:
    found = await context.all(_View, _SQL["views"])
    if not found:
        return ok("No view bypasses row level security.")
    views = [row.name for row in found if row.kind == "v"]
    if views:
        return fail(
            f"Views bypass row level security with their owner's rights: {abbreviate(views)}.",
            f"alter view {views[0]} set (security_invoker = on)",
        )
    return warn(
        f"Row level security does not apply to {abbreviate([row.name for row in found])}, which "
        "clients can read.",
        f"revoke select on {found[0].name} from anon, authenticated",  # noqa: S608  shown, not run
    )


async def _callable(context: CheckContext) -> Result:
    found = await context.column(_SQL["callable_by_anybody"])
    if found:
        return warn(
            f"Anonymous clients may call functions that run with their owner's rights: "
            f"{abbreviate(found)}.",
            f"revoke execute on function {found[0]} from public, anon",
        )
    return ok("Anonymous clients may call no function that runs with its owner's rights.")


async def _grants(context: CheckContext) -> Result:
    found = await context.all(_Grant, _SQL["exposed_columns"])
    if found:
        grants = abbreviate([f"{row.role} may {row.privilege} {row.name}" for row in found])
        return fail(
            f"Clients have privileges on tables of Auto-Match that they must not have: {grants}.",
            # Not `revoke`: of one column it leaves the privilege on the whole table.
            "select automatch.apply_access_rules()",
        )
    return ok("Clients read their own rows, write nothing and see no embedding.")


async def _logins(context: CheckContext) -> Result:
    found = await context.all(_Power, _SQL["logins"])
    if found:
        powers = abbreviate([f"{row.name} {row.power}" for row in found])
        return fail(
            f"The logins of server, workers and schedule have powers: {powers}.",
            " ".join(sorted({f"`{row.remedy}`" for row in found})),
        )
    return ok("The logins of server, workers and schedule have no powers.")


CHECKS = [
    Check("access.rls", "Row level security is enabled", _rls),
    Check("access.policies", "Policies exist and are restrictive", _policies),
    Check("access.views", "No view bypasses the policies", _views),
    Check("access.callable", "Functions open to anonymous clients", _callable),
    Check("access.grants", "Privileges on tables and columns", _grants),
    Check("access.logins", "The logins have no powers", _logins),
]
