"""Proof, for the second step of what cannot be undone, that the first one was taken."""

from __future__ import annotations

from itsdangerous import BadData, URLSafeTimedSerializer

from automatch.model.people import Claims

_LIFE_S = 600


class Confirmations:
    """Signs that a person has confirmed an act in their session, and checks that."""

    def __init__(self, key: str) -> None:
        self._serializer = URLSafeTimedSerializer(key, salt="confirmation")

    def sign(self, act: str, claims: Claims) -> str:
        """Return the proof, which lasts for ten minutes."""
        return str(self._serializer.dumps([act, claims.as_json()]))

    def is_valid(self, confirmation: str, act: str, claims: Claims) -> bool:
        """Return whether it is for this act in this session, and not too old."""
        try:
            signed = self._serializer.loads(confirmation, max_age=_LIFE_S)
        except BadData:
            return False
        return bool(signed == [act, claims.as_json()])
