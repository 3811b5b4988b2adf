"""Signed links to photos for apps: short-lived, and bound to one viewer and their session."""

from __future__ import annotations

from uuid import UUID

from itsdangerous import BadData, URLSafeTimedSerializer

from automatch.errors.request import NotFoundError
from automatch.model.people import Claims, Role

LIFE_S = 300


class PhotoLinks:
    """Signs links and verifies them."""

    def __init__(self, key: str) -> None:
        self._serializer = URLSafeTimedSerializer(key, salt="photo-link")

    def sign(self, face_id: UUID, viewer: Claims) -> str:
        """Return a link to a photo that works in this session for five minutes."""
        token = self._serializer.dumps([str(face_id), viewer.as_json()])
        return f"/api/faces/{face_id}/image?token={token}"

    def viewer_of(self, token: str, face_id: UUID) -> Claims:
        """Return the person that a link was made for, with their session.

        Raises:
            NotFoundError: it is not ours, for another photo, or too old.
        """
        try:
            signed_face, viewer = self._serializer.loads(token, max_age=LIFE_S)
            if UUID(signed_face) != face_id:
                raise NotFoundError
            return Claims(
                role=Role.AUTHENTICATED,
                subject=UUID(viewer["sub"]),
                session_id=UUID(viewer["session_id"]),
                external=bool(viewer.get("external")),
            )
        except (BadData, LookupError, ValueError, TypeError, AttributeError) as exc:
            raise NotFoundError from exc
