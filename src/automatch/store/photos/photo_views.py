"""Who was shown whose photo, and how many that are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from uuid import UUID

from psycopg.rows import class_row

from automatch.store.call import call, call_row, call_rows
from automatch.store.database import Connection


@dataclass(frozen=True, slots=True)
class SeenPhoto:
    """A photo that was shown to somebody."""

    viewer_id: UUID | None
    """None for an operator."""
    face_id: UUID
    full_size: bool
    """Whether it was the whole photo, and not only the face."""
    seen_at: datetime


@dataclass(frozen=True, slots=True)
class PhotoViewCounts:
    """How many people were shown photos of somebody: `0`, `1-2`, or the number."""

    people_this_week: str
    people_this_month: str
    operator_days_this_month: int
    """On how many days an operator looked."""


@dataclass(frozen=True, slots=True)
class PhotoViewsOfWeek:
    """How many people were shown photos of somebody in a week."""

    week: date
    """Its Monday."""
    people: str
    operator_days: int


async def record_views(conn: Connection, seen: Sequence[SeenPhoto]) -> None:
    """Record what was shown to whom; own photos, and those that are gone, are left out."""
    await call(
        conn,
        "record_photo_views",
        viewer_ids=[each.viewer_id for each in seen],
        face_ids=[each.face_id for each in seen],
        full_size=[each.full_size for each in seen],
        seen_at=[each.seen_at for each in seen],
    )


async def count_views(conn: Connection) -> PhotoViewCounts:
    """Return how many people were shown photos of the caller."""
    counts = await call_row(conn, "count_photo_views", class_row(PhotoViewCounts))
    assert counts is not None
    return counts


async def list_weeks(conn: Connection) -> list[PhotoViewsOfWeek]:
    """Return how many people were shown photos of the caller in each week, newest first."""
    return await call_rows(conn, "list_photo_views", class_row(PhotoViewsOfWeek))
