"""The tables that can be subscribed to, and the JSON form of their values."""

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


class ColumnType(StrEnum):
    """The type of a column, by its name in Postgres."""

    UUID = "uuid"
    TEXT = "text"
    INT4 = "int4"
    TIME = "timestamptz"

    def parse(self, text: str) -> Any:
        """Parse *text* into a value that compares with the values of rows.

        Raises:
            ValueError: it is no value of this type.
        """
        match self:
            case ColumnType.TEXT:
                return text
            case ColumnType.UUID if _UUID.fullmatch(text):
                return UUID(text)
            case ColumnType.INT4 if _INT4.fullmatch(text):
                return int(text)
            case ColumnType.TIME:
                time = datetime.fromisoformat(text)
                return time if time.tzinfo else time.replace(tzinfo=UTC)
        raise ValueError(f"no {self.value}")


@dataclass(frozen=True, slots=True)
class Table:
    """A table of schema `public` that can be subscribed to."""

    name: str
    events: frozenset[str]
    columns: Mapping[str, ColumnType]
    """The columns that a signed-in person may select; no others leave the server."""


MATCHES = Table(
    "matches",
    frozenset({"INSERT"}),
    {
        "id": ColumnType.UUID,
        "face_a_id": ColumnType.UUID,
        "face_b_id": ColumnType.UUID,
        "created_at": ColumnType.TIME,
    },
)
JOBS = Table(
    "match_jobs",
    frozenset({"INSERT", "UPDATE"}),
    {
        "id": ColumnType.UUID,
        "face_id": ColumnType.UUID,
        "status": ColumnType.TEXT,
        "attempts": ColumnType.INT4,
        "max_attempts": ColumnType.INT4,
        "error_code": ColumnType.TEXT,
        "error_message": ColumnType.TEXT,
        "created_at": ColumnType.TIME,
        "started_at": ColumnType.TIME,
        "completed_at": ColumnType.TIME,
        "match_count": ColumnType.INT4,
    },
)
TABLES = {table.name: table for table in (MATCHES, JOBS)}


def to_json_value(value: Any) -> Any:
    """Return a value of a row as JSON has it."""
    match value:
        case UUID():
            return str(value)
        case datetime():
            return value.astimezone(UTC).isoformat()
    return value
