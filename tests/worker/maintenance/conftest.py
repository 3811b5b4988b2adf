"""Maintenance of a folder of photos and a database, run by a test when it likes."""

from __future__ import annotations

from pathlib import Path

import pytest

from automatch.photos.folder import FolderPhotos
from automatch.settings.database import PoolSettings
from automatch.settings.storage import RetentionSettings
from automatch.settings.worker import WorkerSettings
from automatch.store.database import Database
from automatch.worker.maintenance import MaintenanceRunner


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "photos"


@pytest.fixture
async def maintenance(database, folder):
    async with Database(database.worker, PoolSettings(), name="test") as db:
        yield MaintenanceRunner(
            db, FolderPhotos(folder, min_free_mb=0), WorkerSettings(), RetentionSettings()
        )
