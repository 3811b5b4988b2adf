"""Who may see what: the questions of Supabase's database linter, with statements of our own."""

from __future__ import annotations

from dataclasses import dataclass

from psycopg import sql

from automatch.ops.doctor.check import Check, Repair, Result, fail, ok, some, warn
from automatch.ops.doctor.installation import Installation
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
class _Function:
    name: str
    is_definer: bool


@dataclass(frozen=True, slots=True)
class _Right:
    name: str
    role: str
    may: str


@dataclass(frozen=True, slots=True)
class _Power:
    name: str
    power: str


async def _rls(site: Installation) -> Result:
    found = await site.all(_OpenTable, _SQL["open_tables"])
    if not found:
        return ok("It is on for every table, and binds the owner of ours too.")
    meant = [table for table in found if table.has_policies]

    async def repair() -> None:
        async with site.repairing("access.rls", tables=[table.name for table in meant]) as conn:
            for table in meant:
                name = sql.Identifier(*table.name.split("."))
                await conn.execute(sql.SQL(_SQL["enable_rls"]).format(table=name))
                if table.is_ours:
                    await conn.execute(sql.SQL(_SQL["force_rls"]).format(table=name))

    told = some([table.name for table in found])
    says = f"Row level security is off, or does not bind the owner, for {told}."
    fix = f"alter table {found[0].name} enable row level security; its policies then hold"
    mend = (
        Repair(
            f"turns it on for {some([table.name for table in meant])}, whose policies are there",
            repair,
        )
        if meant
        else None
    )
    if any(table.is_reachable or table.has_policies for table in found):
        return fail(says, fix, mend)
    return warn(f"{says} Nobody who signs in has rights on them.", fix, mend)


async def _policies(site: Installation) -> Result:
    found = await site.all(_Policy, _SQL["policies"])
    open_ones = [f"{row.policy} of {row.name}" for row in found if row.policy]
    if open_ones:
        return fail(
            f"Policies let people who sign in, or anybody, write any row: {some(open_ones)}.",
            "drop policy NAME on TABLE, or say in it whose rows they are",
        )
    if found:
        return warn(
            f"Tables have row level security and no policy, so that nobody reads them: "
            f"{some([row.name for row in found])}.",
            "create a policy, or drop the table",
        )
    return ok("Every table has some, and none opens a table to writing.")


async def _views(site: Installation) -> Result:
    found = await site.all(_View, _SQL["views"])
    if not found:
        return ok("None is shown with its owner's rights.")
    views = [row.name for row in found if row.kind == "v"]
    if views:
        return fail(
            f"Views show rows with their owner's rights, past row level security: {some(views)}.",
            f"alter view {views[0]} set (security_invoker = on)",
        )
    return warn(
        f"Row level security cannot hold for {some([row.name for row in found])}, which people who "
        "sign in can read.",
        f"revoke select on {found[0].name} from anon, authenticated",  # noqa: S608  shown, not run
    )


async def _functions(site: Installation) -> Result:
    found = await site.all(_Function, _SQL["loose_functions"])
    definers = [row.name for row in found if row.is_definer]
    if definers:
        return fail(
            "Functions run with their owner's rights and find names by their caller's "
            f"search_path: {some(definers)}.",
            f"alter function {definers[0]} set search_path = pg_catalog, pg_temp",
        )
    if found:
        return warn(
            "Functions find names by their caller's search_path: "
            f"{some([row.name for row in found])}.",
            f"alter function {found[0].name} set search_path = pg_catalog, pg_temp",
        )
    return ok("Every one has a search_path of its own.")


async def _callable(site: Installation) -> Result:
    found = await site.column(_SQL["callable_by_anybody"])
    if found:
        return warn(
            f"Anybody may call functions that run with their owner's rights: {some(found)}.",
            f"revoke execute on function {found[0]} from public, anon",
        )
    return ok("None runs with its owner's rights for anybody.")


async def _users(site: Installation) -> Result:
    found = await site.column(_SQL["exposed_users"])
    if found:
        return fail(
            f"People who sign in, or anybody, can read the accounts through {some(found)}.",
            f"revoke all on {found[0]} from anon, authenticated",
        )
    return ok("Nobody reads auth.users.")


async def _extensions(site: Installation) -> Result:
    found = await site.column(_SQL["public_extensions"])
    if found:
        return warn(
            f"Extensions lie in the exposed schema public: {some(found)}.",
            f"alter extension {found[0]} set schema extensions",
        )
    return ok("None lies in public.")


async def _rights(site: Installation) -> Result:
    found = await site.all(_Right, _SQL["exposed_columns"])
    if found:
        first = found[0]
        told = some([f"{row.role} may {row.may} {row.name}" for row in found])
        table, _, column = first.name.partition(".")[2].partition(".")
        what = f"{first.may} ({column})" if column else first.may
        return fail(
            f"People have rights on tables of Auto-Match that no one needs: {told}.",
            f"revoke {what} on {first.name.partition('.')[0]}.{table} from {first.role}",
        )
    return ok("People who sign in read what is theirs, write nothing and see no embedding.")


async def _logins(site: Installation) -> Result:
    found = await site.all(_Power, _SQL["logins"])
    if found:
        told = some([f"{row.name} {row.power}" for row in found])
        return fail(
            f"The logins of the server and the workers have powers: {told}.",
            f"alter role {found[0].name} nosuperuser nobypassrls nocreaterole nocreatedb "
            "noreplication",
        )
    return ok("The two logins have no power of their own.")


CHECKS = [
    Check("access.rls", "Row level security is on", _rls),
    Check("access.policies", "Policies are there, and closed", _policies),
    Check("access.views", "Views do not read around policies", _views),
    Check("access.functions", "Functions pin their search_path", _functions),
    Check("access.callable", "Functions for the public", _callable),
    Check("access.users", "auth.users is not exposed", _users),
    Check("access.extensions", "Extensions outside of public", _extensions),
    Check("access.rights", "Tables and columns are closed", _rights),
    Check("access.logins", "The logins have no powers", _logins),
]
