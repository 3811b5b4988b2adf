"""Operators and their roles."""

from __future__ import annotations

from dataclasses import replace
from uuid import UUID

from psycopg.rows import class_row, tuple_row
from psycopg.types.json import Jsonb

from automatch.model.operators import (
    ActPerson,
    Impersonation,
    Operator,
    OperatorAccount,
    OperatorRole,
)
from automatch.model.people import Claims
from automatch.store.call import call, call_row, call_rows, call_value
from automatch.store.database import Connection


async def list_operators(conn: Connection) -> list[OperatorAccount]:
    """Return the operators, owners first."""
    rows = await call_rows(conn, "list_operators", class_row(OperatorAccount))
    return [replace(row, role=OperatorRole(row.role)) for row in rows]


async def has_owner(conn: Connection) -> bool:
    return any(person.role is OperatorRole.OWNER for person in await list_operators(conn))


async def find_role(conn: Connection, profile_id: UUID) -> OperatorRole | None:
    """Return the role of a person; None of somebody who is no operator."""
    role = await call_value(conn, "find_operator_role", profile_id=profile_id)
    return OperatorRole(role) if role else None


async def find_operator(conn: Connection, claims: Claims) -> Operator | None:
    """Return the operator of verified claims; None of anybody else, and once the session ended."""
    row = await call_row(conn, "find_operator", tuple_row, claims=Jsonb(claims.as_json()))
    if row is None:
        return None
    person_id, role, password_entered_at = row
    return Operator(
        OperatorRole(role), f"operator:{person_id}", person_id, password_entered_at, claims
    )


async def open_act(
    conn: Connection, about: str, object_id: UUID, *, erases: bool = False
) -> list[ActPerson]:
    """Return whom an act is about and who is a side of it; it is about nobody else until it ends.

    *about* is `person`, `case`, `held`, `pair` or `mail`; *erases* where the person may be erased.
    """
    rows = await call_rows(
        conn, "open_act", class_row(ActPerson), about=about, id=object_id, erases=erases
    )
    return [replace(row, role=OperatorRole(row.role) if row.role else None) for row in rows]


async def list_impersonations(conn: Connection, profile_id: UUID) -> list[Impersonation]:
    """Return at most 100 times that an operator signed in as a person, newest first."""
    return await call_rows(
        conn, "list_impersonations", class_row(Impersonation), profile_id=profile_id
    )


async def set_role(conn: Connection, profile_id: UUID, role: OperatorRole | None) -> None:
    """Make a person an operator, or change their role; None takes it away.

    Raises:
        LastOwnerError: nobody else is an owner.
        NotFoundError: there was no role to take away.
    """
    await call(conn, "set_operator_role", profile_id=profile_id, role=role and role.value)
