"""Devices and people who want to be told of what is new."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from psycopg.rows import class_row

from automatch.store.call import call, call_row, call_rows, call_value
from automatch.store.database import Connection


@dataclass(frozen=True, slots=True)
class Push:
    """A device that this server tells of news."""

    id: UUID
    endpoint: str
    p256dh: str
    auth: str
    language: str
    news: int
    """How many matches are new."""
    is_mutual: bool
    """Whether somebody whom the person likes likes them, too."""
    position: int
    """Of the feed: up to there the person is told."""
    liked_at: datetime | None
    """Up to then the person is told of likes."""
    attempts: int
    """This one included."""
    lease_token: int
    """Which taking this is: only the last one settles anything."""


@dataclass(frozen=True, slots=True)
class Digest:
    """What a mail about news says."""

    news: int
    token: UUID
    """Ends these mails without a sign-in."""


async def subscribe(conn: Connection, endpoint: str, p256dh: str, auth: str, language: str) -> None:
    """Have the caller told on a device, until their session ends."""
    await call(
        conn,
        "save_push_subscription",
        endpoint=endpoint,
        p256dh=p256dh,
        auth=auth,
        language=language,
    )


async def unsubscribe(conn: Connection, endpoint: str) -> None:
    """Tell the caller on a device no more."""
    await call(conn, "forget_push_subscription", endpoint=endpoint)


async def take_pushes(conn: Connection, limit: int, lease: timedelta) -> list[Push]:
    """Return devices of people with news that they have not seen and were not told of."""
    return await call_rows(conn, "take_pushes", class_row(Push), limit=limit, lease=lease)


async def finish_push(conn: Connection, push: Push, quiet: timedelta) -> None:
    """Note that a device was told; more comes to it once the quiet time is over."""
    await call(
        conn,
        "finish_push",
        id=push.id,
        lease_token=push.lease_token,
        position=push.position,
        liked_at=push.liked_at,
        quiet=quiet,
    )


async def postpone_push(conn: Connection, push: Push, delay: timedelta | None) -> None:
    """Try a device again after *delay*; None forgets it."""
    await call(conn, "postpone_push", id=push.id, lease_token=push.lease_token, delay=delay)


async def get_digest(conn: Connection) -> str:
    """Return how often the caller gets mail about news: `off`, `daily` or `weekly`."""
    return str(await call_value(conn, "get_digest"))


async def set_digest(conn: Connection, every: str) -> None:
    """Set how often the caller gets mail about news."""
    await call(conn, "set_digest", every=every)


async def end_digest(conn: Connection, token: UUID) -> None:
    """End the mails of whoever has got one with this token."""
    await call(conn, "end_digest", token=token)


async def enqueue_digests(conn: Connection) -> int:
    """Have mails sent to some people who want them; return how many were looked at."""
    return int(await call_value(conn, "enqueue_digests"))


async def read_digest(conn: Connection, profile_id: UUID) -> Digest | None:
    """Return what the mail of a person says; None for whoever wants none any more."""
    return await call_row(conn, "read_digest", class_row(Digest), profile_id=profile_id)
