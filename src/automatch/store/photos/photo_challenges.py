"""What people were asked to do before the camera; for the API's login."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID

import numpy as np
from psycopg.rows import tuple_row

from automatch.model.faces import Challenge, Turn
from automatch.store.call import call, call_row, call_value
from automatch.store.database import Connection


async def require_challenge(conn: Connection, face_id: UUID) -> None:
    """Let a photo of the caller wait for a challenge, should it be their first."""
    await call(conn, "require_photo_challenge", face_id=face_id)


async def begin_challenge(
    conn: Connection, person_id: UUID, session_id: str, face_id: UUID
) -> Challenge:
    """Ask for turns of the head; an earlier challenge of the photo ends.

    Raises:
        NotFoundError: the person has no photo of this id that waits for a challenge.
    """
    row = await call_row(
        conn,
        "begin_photo_challenge",
        tuple_row,
        profile_id=person_id,
        session_id=session_id,
        face_id=face_id,
    )
    assert row is not None
    return Challenge(row[0], [Turn(turn) for turn in row[1]])


async def take_challenge(
    conn: Connection, person_id: UUID, session_id: str, face_id: UUID, challenge_id: UUID
) -> list[Turn] | None:
    """Return the turns that were asked for, once; None if it is over or of another session."""
    turns = await call_value(
        conn,
        "take_photo_challenge",
        profile_id=person_id,
        session_id=session_id,
        face_id=face_id,
        id=challenge_id,
    )
    return None if turns is None else [Turn(turn) for turn in turns]


async def pass_challenge(
    conn: Connection,
    person_id: UUID,
    face_id: UUID,
    model: str,
    embeddings: Sequence[np.ndarray[Any, np.dtype[np.float32]]],
) -> bool:
    """Release the photo if all *embeddings* are of its person; return whether they are.

    Raises:
        NotFoundError: the photo does not wait for a challenge any more.
    """
    return bool(
        await call_value(
            conn,
            "pass_photo_challenge",
            profile_id=person_id,
            face_id=face_id,
            model=model,
            embeddings=list(embeddings),
        )
    )
