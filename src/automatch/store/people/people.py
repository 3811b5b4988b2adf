"""People, as operators look at them and act for them."""

from __future__ import annotations

from uuid import UUID

from psycopg.rows import class_row

from automatch.model.people import FoundPerson, PersonDetails, PersonSession
from automatch.store.call import call, call_row, call_rows, call_value
from automatch.store.database import Connection


async def find(conn: Connection, query: str, limit: int) -> list[FoundPerson]:
    """Return people by their id, or by a part of their address or name."""
    return await call_rows(conn, "find_people", class_row(FoundPerson), query=query, limit=limit)


async def find_by_email(conn: Connection, email: str) -> UUID | None:
    """Return whose account has an address."""
    person_id: UUID | None = await call_value(conn, "find_person_by_email", email=email)
    return person_id


async def load(conn: Connection, person_id: UUID) -> PersonDetails:
    """Return what an operator needs to help somebody.

    Raises:
        NotFoundError: there is no such person.
    """
    details = await call_row(conn, "show_person", class_row(PersonDetails), id=person_id)
    assert details is not None
    return details


async def create_account(conn: Connection, email: str) -> UUID:
    """Make an account without a password for an address that nobody has an account with.

    Raises:
        InputInvalidError: accounts are made at Supabase.
    """
    person_id: UUID = await call_value(conn, "create_person", email=email)
    return person_id


async def freeze(conn: Connection, person_id: UUID, reason: str) -> None:
    """Let a person find nobody and be found by nobody.

    Raises:
        NotFoundError: there is no such person.
    """
    await call(conn, "freeze_person", id=person_id, reason=reason)


async def unfreeze(conn: Connection, person_id: UUID) -> bool:
    """Undo `freeze`; return whether the person was frozen."""
    return bool(await call_value(conn, "unfreeze_person", id=person_id))


async def list_sessions(conn: Connection, person_id: UUID) -> list[PersonSession]:
    """Return at most 100 sessions of a person, the latest used first."""
    return await call_rows(
        conn, "auth.list_sessions_of", class_row(PersonSession), user_id=person_id
    )


async def end_sessions(conn: Connection, person_id: UUID) -> int:
    """End all sessions of a person; return how many there were."""
    return int(await call_value(conn, "auth.end_sessions_of", user_id=person_id))


async def end_password(conn: Connection, person_id: UUID) -> None:
    """End password, sessions and links, so that the mailbox has to choose a new password."""
    await call(conn, "auth.end_password", user_id=person_id)
