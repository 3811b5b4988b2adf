"""Importing people in bulk: each function calls the SQL function that does it.

All of them are for the API's login (`Database.connection`), on behalf of an operator.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import date, datetime
from uuid import UUID

from psycopg.rows import class_row, tuple_row

from automatch.model.people import Claims, Gender, Role
from automatch.sql.statements import load
from automatch.store.call import call, call_row, call_rows, call_value
from automatch.store.database import Connection, Database

_SQL = load("imports")
_PAGE = 500


@dataclass(frozen=True, slots=True)
class ImportedPerson:
    """A person to import, and the evidence of their consent."""

    email: str
    name: str
    school: str
    gender: Gender
    birth_date: date
    consent_version: str
    consent_at: datetime
    consent_evidence: str
    """Where the evidence is stored, in the operator's words."""


@dataclass(frozen=True, slots=True)
class RefusedRow:
    """A row whose photo could not be used."""

    row_number: int
    code: str
    message: str


async def list_consent_versions(db: Database) -> set[str]:
    """Return all versions of the consent text that this installation has had."""
    async with db.as_user(Claims(role=Role.ANON)) as conn:
        cursor = await conn.execute(_SQL["list_consent_versions"])
        return {row[0] for row in await cursor.fetchall()}


async def find_photo(
    conn: Connection, import_id: UUID, row: int, *, email: str, image_sha256: str
) -> bool:
    """Return whether an earlier run imported this photo; if so, count it in this run too."""
    return bool(
        await call_value(
            conn,
            "find_imported_photo",
            import_id=import_id,
            row=row,
            email=email,
            image_sha256=image_sha256,
        )
    )


async def import_photo(
    conn: Connection,
    import_id: UUID,
    row: int,
    person: ImportedPerson,
    *,
    face_id: UUID,
    image_path: str,
    image_sha256: str,
) -> bool:
    """Import a person with a photo and enqueue it behind all uploads; False when it existed.

    Raises:
        AgeNotAllowedError: under 18.
        ConsentRequiredError: without evidence, or the person withdrew, or erased their account.
        EmailTakenError: the address belongs to somebody who uses their account themselves.
        InputInvalidError: a value is not allowed.
    """
    return bool(
        await call_value(
            conn,
            "import_photo",
            import_id=import_id,
            row=row,
            email=person.email,
            name=person.name,
            school=person.school,
            gender=person.gender.value,
            birth_date=person.birth_date,
            consent_version=person.consent_version,
            consent_at=person.consent_at,
            consent_evidence=person.consent_evidence,
            face_id=face_id,
            image_path=image_path,
            image_sha256=image_sha256,
        )
    )


async def count_jobs(conn: Connection, import_id: UUID) -> tuple[int, int]:
    """Return how many photos a run has, and how many are still pending."""
    row = await call_row(conn, "count_import_jobs", tuple_row, import_id=import_id)
    return (row[0], row[1]) if row else (0, 0)


async def list_refusals(db: Database, import_id: UUID) -> AsyncIterator[RefusedRow]:
    """Yield the rows whose photo could not be used, in their order."""
    after = 0
    while True:
        async with db.connection() as conn:
            page = await call_rows(
                conn,
                "list_import_failures",
                class_row(RefusedRow),
                import_id=import_id,
                after_row=after,
                limit=_PAGE,
            )
        for refused in page:
            yield refused
        if len(page) < _PAGE:
            return
        after = page[-1].row_number


async def finish(conn: Connection, import_id: UUID, actor: str) -> None:
    """Write the run to the audit log."""
    await call(conn, "finish_import", import_id=import_id, actor=actor)
