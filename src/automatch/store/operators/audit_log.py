"""The log of what operators did and looked at."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from psycopg.rows import class_row
from psycopg.types.json import Jsonb

from automatch.model.operators import AuditEntry
from automatch.store.call import call, call_rows
from automatch.store.database import Connection


async def record_act(
    conn: Connection,
    actor: str,
    action: str,
    *,
    object_id: UUID | None = None,
    reason: str | None = None,
    details: dict[str, Any] | None = None,
) -> None:
    """Record an act or a look; *details* hold ids and counts, never a name, an address or a photo.

    *details* name people whom it concerns besides the object as `person` or `people`.
    """
    await call(
        conn,
        "record_act",
        actor=actor,
        action=action,
        object_id=object_id,
        reason=reason,
        details=Jsonb(details or {}),
    )


async def list_entries(
    conn: Connection,
    limit: int = 50,
    *,
    person_id: UUID | None = None,
    action: str | None = None,
    actor: str | None = None,
    before: int | None = None,
) -> list[AuditEntry]:
    """Return what operators did, newest first: about a person, of an action or actor, before one.

    *before* is the id of an entry; None filters nothing.
    """
    return await call_rows(
        conn,
        "list_audit_log",
        class_row(AuditEntry),
        limit=limit,
        person_id=person_id,
        action=action,
        actor=actor,
        before=before,
    )
