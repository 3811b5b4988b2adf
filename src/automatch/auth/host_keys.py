"""What has to be the same on all hosts of an installation, by fingerprints that may be shown."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from automatch.auth.project_keys import ProjectKeys
from automatch.auth.receipts import Receipts
from automatch.errors.configuration import SecretsError

if TYPE_CHECKING:
    from pathlib import Path

    from automatch.settings.secrets import Secrets

_CHARS = 16


def read_fingerprints(home: Path, secrets: Secrets) -> dict[str, str]:
    """Return the fingerprints by the file's name; that of a file that is not there is empty.

    They are of random keys, so that nobody finds the key by trying.
    """
    own = (secrets.jwt_secret, secrets.photo_key, secrets.address_key, secrets.push_key)
    return {
        "secrets.json": _fingerprint(*own),
        "receipt-key.json": Receipts(home).known_fingerprint or "",
        "project_keys.json": _fingerprint(*_ended_keys(home)),
    }


def _ended_keys(home: Path) -> list[str]:
    try:
        return sorted(key.id for key in ProjectKeys(home).list() if key.ended_at is not None)
    except SecretsError:
        # Whoever uses a key learns that the list is damaged.
        return ["damaged"]


def _fingerprint(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:_CHARS] if parts else ""
