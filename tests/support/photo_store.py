"""The mark that a server sets in the database and in its photos, for tests without a server."""

from __future__ import annotations

from pathlib import Path
from uuid import uuid4

import psycopg

from automatch.photos.store import MARK


def mark_folder(owner: str, folder: Path) -> None:
    """Make a folder the photo store of a database, by the owner's address."""
    with psycopg.connect(owner) as conn:
        row = conn.execute("select claim_photo_store(%s)", [uuid4()]).fetchone()
    assert row is not None
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    (folder / MARK).write_text(str(row[0]))
