"""Whether a photo store is the one of a database: both bear the same random mark.

Whoever comes first of the servers and `automatch migrate` marks both. A process that looks at
another store would fail the jobs of photos that it does not find, and count photos as erased that
lie elsewhere: it does not start.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING
from uuid import uuid4

import structlog
from psycopg.types.json import Jsonb

from automatch.errors.configuration import WrongPhotoStoreError
from automatch.errors.store import PhotoStorageError
from automatch.sql.statements import load
from automatch.store.call import call, call_value

if TYPE_CHECKING:
    from uuid import UUID

    from automatch.photos.store import PhotoStore
    from automatch.store.database import Connection

_SQL = load("photo_store")
_ADOPT = "`automatch photos adopt`"
_ENDING_S = 5.0
"""Of waiting for sessions that end: Postgres lists one for a moment after it was closed."""
_LOOK_S = 0.05

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Problem:
    """Why a photo store is not the one of a database, and what to do."""

    what: str
    fix: str


async def check_photo_store(conn: Connection, photos: PhotoStore, *, may_claim: bool) -> None:
    """Return when a photo store is the one of the database; from now on it has to remain that.

    Args:
        conn: a transaction that is committed soon after.
        photos: the store, which need not answer unless it has to be marked.
        may_claim: mark both where neither bears a mark.

    Raises:
        WrongPhotoStoreError: it is another one; the message says what to do.
        PhotoStorageError: it does not answer, and has to be marked.
    """
    known: UUID | None = await call_value(conn, "claim_photo_store")
    if known is None and may_claim:
        known = await _claim(conn, photos)
    if problem := await find_problem(photos, known):
        raise WrongPhotoStoreError(f"{problem.what} {problem.fix}")
    photos.mark = known


async def find_problem(photos: PhotoStore, known: UUID | None) -> Problem | None:
    """Return why a photo store is not that of a database with this mark, and what to do."""
    try:
        found = await photos.read_mark()
    except PhotoStorageError as exc:
        # It may be the right one: what it is asked for later fails, and is tried again.
        log.warning("photo store does not answer", reason=exc.reason)
        return None if known else _UNMARKED
    if known is None:
        return _foreign(photos) if found else _UNMARKED
    if found == known:
        return None
    what = (
        "bears another mark (of another database, or from before an adoption)"
        if found
        else "does not bear its mark"
    )
    return Problem(
        f"The photos of this database are elsewhere: {photos.location} {what}.",
        "Mount it, or correct AUTOMATCH_HOME or AUTOMATCH_PHOTOS__BUCKET; if the photos were moved "
        f"or restored to this place, stop server and workers, then {_ADOPT}.",
    )


async def adopt_photo_store(conn: Connection, photos: PhotoStore, actor: str) -> None:
    """Make a photo store the one of the database; for the owner, in a transaction.

    Raises:
        WrongPhotoStoreError: a server or a worker runs, which would go on with the other store.
        PhotoStorageError: the store does not answer.
    """
    await check_nobody_is_connected(conn)
    # A new one, so that a copy in the old place is not taken for it.
    mark = uuid4()
    await conn.execute(_SQL["adopt"], {"mark": mark})
    details = Jsonb({"location": photos.location})
    await call(conn, "automatch.audit", actor=actor, action="adopt", details=details)
    await photos.set_mark(mark)
    photos.mark = mark


async def is_photo_store_of(conn: Connection, photos: PhotoStore) -> bool:
    """Return whether a photo store bears the mark of the database; for the owner.

    Raises:
        PhotoStorageError: the store does not answer.
    """
    row = await (await conn.execute(_SQL["mark"])).fetchone()
    return row is not None and row[0] == await photos.read_mark()


async def check_nobody_is_connected(conn: Connection) -> None:
    """Return when no server and no worker could go on with another photo store; for the owner.

    Raises:
        WrongPhotoStoreError: one runs.
    """
    given_up_at = time.monotonic() + _ENDING_S
    while True:
        sessions = await (await conn.execute(_SQL["sessions"])).fetchone()
        if not sessions or not sessions[0]:
            return
        if time.monotonic() >= given_up_at:
            raise WrongPhotoStoreError(
                "Servers or workers are connected to the database; stop them all, then try again."
            )
        await conn.execute(_SQL["look_again"])
        await asyncio.sleep(_LOOK_S)


async def list_newest_photos(conn: Connection) -> list[str]:
    """Return the paths of the newest photos whose copies must exist; for the owner."""
    return [row[0] for row in await (await conn.execute(_SQL["newest_photos"])).fetchall()]


async def is_markable(conn: Connection) -> bool:
    """Return whether the database has been migrated, so that it can have a mark."""
    row = await (await conn.execute(_SQL["is_there"])).fetchone()
    return bool(row and row[0])


_UNMARKED = Problem(
    "The database has no photo store yet.",
    "Start the server first, or run `automatch migrate` with the settings of the server.",
)


def _foreign(photos: PhotoStore) -> Problem:
    return Problem(
        f"The photos in {photos.location} belong to another database, and this one has none yet.",
        "Correct AUTOMATCH_DATABASE_URL or AUTOMATCH_HOME; if they are to belong to this database, "
        f"which deletes photos that it does not know, {_ADOPT}.",
    )


async def _claim(conn: Connection, photos: PhotoStore) -> UUID:
    offered = uuid4()
    # Nobody else gets an answer to this before the mark is in the store and this is committed.
    known: UUID = await call_value(conn, "claim_photo_store", mark=offered)
    if known == offered:
        if await photos.read_mark() is not None:
            problem = _foreign(photos)
            raise WrongPhotoStoreError(f"{problem.what} {problem.fix}")
        await photos.set_mark(offered)
    return known
