"""Signed links to photos for apps: short-lived, and bound to one viewer."""

from __future__ import annotations

from uuid import UUID

from itsdangerous import BadData, URLSafeTimedSerializer

from automatch.errors.request import NotFoundError

LIFE_S = 300


class PhotoLinks:
    """Signs links and verifies them."""

    def __init__(self, key: str) -> None:
        self._serializer = URLSafeTimedSerializer(key, salt="photo-link")

    def sign(self, face_id: UUID, viewer_id: UUID) -> str:
        """Return a link to a photo that works for this viewer for five minutes."""
        token = self._serializer.dumps([str(face_id), str(viewer_id)])
        return f"/api/faces/{face_id}/image?token={token}"

    def viewer_of(self, token: str, face_id: UUID) -> UUID:
        """Return the viewer of a link.

        Raises:
            NotFoundError: it is not ours, for another photo, or too old.
        """
        try:
            signed_face, viewer = self._serializer.loads(token, max_age=LIFE_S)
            if UUID(signed_face) != face_id:
                raise NotFoundError
            return UUID(viewer)
        except (BadData, ValueError, TypeError, AttributeError) as exc:
            raise NotFoundError from exc
