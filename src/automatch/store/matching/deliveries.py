"""When matches reached the open pages of their people."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from automatch.store.call import call
from automatch.store.database import Connection


@dataclass(frozen=True, slots=True)
class Delivery:
    """A match that was written to a page of one of its two people."""

    profile_id: UUID
    match_id: UUID
    written_ago_s: float
    opened_ago_s: float
    """How long ago the page had opened: one that opened after the match was made is no measure."""


async def record_deliveries(conn: Connection, deliveries: Sequence[Delivery]) -> None:
    """Record deliveries; those of people or matches that are gone are left out."""
    await call(
        conn,
        "record_deliveries",
        profile_ids=[each.profile_id for each in deliveries],
        match_ids=[each.match_id for each in deliveries],
        written_ago=[each.written_ago_s for each in deliveries],
        opened_ago=[each.opened_ago_s for each in deliveries],
    )
