"""Showing before the camera that a first photo is one's own: asked, answered once, kept nowhere."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from uuid import UUID

from automatch.errors.photo import ChallengeFailedError, PhotoRejectedError
from automatch.errors.request import NotFoundError
from automatch.model.faces import Challenge
from automatch.model.people import Claims
from automatch.services.photos.ai_requests import AiRequestLimiter
from automatch.store.database import Database
from automatch.store.photos import faces, photo_challenges
from automatch.vision.head_turns import check_turns

PICTURES = 4
"""One from the front, and one for each turn."""


async def check_own_photo(db: Database, claims: Claims, face_id: UUID) -> None:
    """Return when a photo is the caller's.

    Raises:
        NotFoundError: it is not, or there is none.
    """
    async with db.as_user(claims) as conn:
        own = await faces.list_faces(conn)
    if face_id not in {face.id for face in own}:
        raise NotFoundError("There is no such page.")


async def begin_challenge(
    db: Database, claims: Claims, person_id: UUID, face_id: UUID
) -> Challenge:
    """Ask the owner of a photo to turn their head.

    Raises:
        NotFoundError: they have no such photo that waits for this.
    """
    async with db.connection() as conn:
        return await photo_challenges.begin_challenge(conn, person_id, _session_of(claims), face_id)


async def answer_challenge(
    db: Database,
    ai_requests: AiRequestLimiter,
    claims: Claims,
    *,
    person_id: UUID,
    face_id: UUID,
    challenge_id: UUID,
    pictures: Sequence[bytes],
) -> None:
    """Release a photo when pictures of its person show the turns that were asked for.

    Raises:
        ChallengeFailedError: they do not, or the time is over; begin again.
        NotFoundError: the photo does not wait for this any more.
        AiBusyError: too many photos are looked at in this moment.
    """
    async with ai_requests.slot() as analyzer:
        async with db.connection() as conn:
            turns = await photo_challenges.take_challenge(
                conn, person_id, _session_of(claims), face_id, challenge_id
            )
        if turns is None:
            raise ChallengeFailedError(
                "That took too long, or was begun somewhere else. Try again.", case="late"
            )
        try:
            seen = [await analyzer.extract(each, enforce_quality=False) for each in pictures]
        except PhotoRejectedError as exc:
            raise ChallengeFailedError(
                "Keep your face, and nobody else's, in the picture, in good light.", case="face"
            ) from exc
        await asyncio.to_thread(check_turns, seen, turns)
        async with db.connection() as conn:
            is_person = await photo_challenges.pass_challenge(
                conn, person_id, face_id, analyzer.model_id, [each.face.embedding for each in seen]
            )
    if not is_person:
        raise ChallengeFailedError(
            "This doesn't look like the person on your photo.", case="other_person"
        )


def _session_of(claims: Claims) -> str:
    # Servers that sign in people themselves may name no session.
    return str(claims.session_id or claims.subject)
