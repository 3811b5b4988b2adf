"""Erasures of people: what went, and the log of them outside of the database."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from uuid import UUID

from psycopg.rows import class_row, tuple_row

from automatch.store.call import call, call_rows, call_value, call_values
from automatch.store.database import Connection, Database
from automatch.store.protection.erasure_log import ErasureLog, LoggedErasure

_REPLAYED = 10_000


@dataclass(frozen=True, slots=True)
class Erased:
    """A person who is gone from the database."""

    person: str
    """The hash of their id."""
    act: str
    """Whose it was: person, operator, retention, restore."""
    email: str | None
    rows: dict[str, int]
    """How many went, by table."""
    paths: list[str]
    """Of their photos, whose files are still to be deleted."""
    photos: list[str]
    """Hashes of the ids of their photos."""


async def erase_account(conn: Connection) -> Erased:
    """Erase the calling user with all their data; runs with that user's rights.

    Raises:
        TokenInvalidError: their session has ended.
    """
    return Erased(**await call_value(conn, "erase_account"))


async def inherit_departure(conn: Connection, person_id: UUID, address_hash: bytes) -> None:
    """Count for a new account what an erased one with its address had used up."""
    await call(conn, "inherit_departure", profile_id=person_id, address_hash=address_hash)


async def erase_person(conn: Connection, person_id: UUID, act: str) -> Erased:
    """Erase somebody with all their data; runs as a login.

    Raises:
        NotFoundError: there is no such person.
        LastOwnerError: nobody else is an owner.
    """
    return Erased(**await call_value(conn, "erase_person", profile_id=person_id, act=act))


async def find_erased(conn: Connection, hashes: list[str]) -> list[tuple[str, int | None]]:
    """Return all tables with the number of rows that name an id of *hashes*; runs as the owner.

    None instead of a number where the owner may not look.
    """
    return await call_rows(conn, "automatch.find_erased", tuple_row, sha256s=hashes)


async def write_log(db: Database, log: ErasureLog) -> int:
    """Write erasures that are not in the log yet; return how many.

    Raises:
        ErasureLogError: the file cannot be written to.
    """
    total = 0
    while True:
        async with db.connection() as conn:
            erasures = await call_rows(conn, "list_erasures_to_log", class_row(LoggedErasure))
        if not erasures:
            return total
        await asyncio.to_thread(log.append, erasures)
        async with db.connection() as conn:
            await call(
                conn,
                "mark_erasures_logged",
                person_sha256s=[each.person_sha256 for each in erasures],
            )
        total += len(erasures)


async def replay_log(conn: Connection, log: ErasureLog) -> list[Erased]:
    """Erase again everybody whom a restored database brought back; runs as the owner.

    Raises:
        ErasureLogError: the file cannot be read.
    """
    logged = [each.person_sha256 for each in await asyncio.to_thread(log.read)]
    erased = []
    for start in range(0, len(logged), _REPLAYED):
        erased += await call_values(
            conn, "automatch.replay_erasures", person_sha256s=logged[start : start + _REPLAYED]
        )
    return [Erased(**each) for each in erased]
