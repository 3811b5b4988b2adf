"""Which tables can be subscribed to, and what their values are on the wire."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

_UUID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_INT4 = re.compile(r"-?[0-9]{1,10}")


class Kind(StrEnum):
    """The type of a column, by its name in Postgres."""

    UUID = "uuid"
    TEXT = "text"
    INT4 = "int4"
    TIME = "timestamptz"

    def parse(self, text: str) -> Any:
        """Return the value that *text* stands for; as the rows have it, so that they compare.

        Raises:
            ValueError: it stands for none.
        """
        match self:
            case Kind.TEXT:
                return text
            case Kind.UUID if _UUID.fullmatch(text):
                return UUID(text)
            case Kind.INT4 if _INT4.fullmatch(text):
                return int(text)
            case Kind.TIME:
                time = datetime.fromisoformat(text)
                return time if time.tzinfo else time.replace(tzinfo=UTC)
        raise ValueError(f"no {self.value}")


@dataclass(frozen=True, slots=True)
class Table:
    """A table of schema `public` whose changes are told."""

    name: str
    events: frozenset[str]
    columns: Mapping[str, Kind]
    """What a signed-in person may select; nothing else leaves the server."""


MATCHES = Table(
    "matches",
    frozenset({"INSERT"}),
    {"id": Kind.UUID, "face_a_id": Kind.UUID, "face_b_id": Kind.UUID, "created_at": Kind.TIME},
)
JOBS = Table(
    "match_jobs",
    frozenset({"INSERT", "UPDATE"}),
    {
        "id": Kind.UUID,
        "face_id": Kind.UUID,
        "status": Kind.TEXT,
        "attempts": Kind.INT4,
        "max_attempts": Kind.INT4,
        "error_code": Kind.TEXT,
        "error_message": Kind.TEXT,
        "created_at": Kind.TIME,
        "started_at": Kind.TIME,
        "completed_at": Kind.TIME,
        "match_count": Kind.INT4,
    },
)
TABLES = {table.name: table for table in (MATCHES, JOBS)}


def wire_value(value: Any) -> Any:
    """Return a value of a row as JSON has it."""
    match value:
        case UUID():
            return str(value)
        case datetime():
            return value.astimezone(UTC).isoformat()
    return value
