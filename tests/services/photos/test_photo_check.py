"""Whether photos can be stored, as a server asks its store."""

from __future__ import annotations

from pathlib import Path
from uuid import uuid4

import pytest
from structlog.testing import capture_logs

from automatch.errors.store import PhotoStorageError
from automatch.photos.folder import FolderPhotos
from automatch.photos.store import MARK
from automatch.services.photos.photos import PhotoCheck

pytestmark = pytest.mark.anyio


async def test_return_of_the_photos_is_logged_once(tmp_path: Path) -> None:
    photos = FolderPhotos(tmp_path, min_free_mb=0)
    photos.mark = uuid4()
    now = iter(range(0, 1000, 10))
    check = PhotoCheck(photos, clock=lambda: next(now))

    with capture_logs() as logs:
        for _ in range(2):
            with pytest.raises(PhotoStorageError):
                await check.check()
        (tmp_path / MARK).write_text(str(photos.mark))
        for _ in range(2):
            await check.check()

    assert [entry["event"] for entry in logs] == [
        "photos cannot be stored",
        "photos can be stored again",
    ]
