"""The worker that leads makes a backup when it is due, in a process of its own."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from unittest.mock import patch

import pytest

from automatch.ops.backup.place import FolderPlace
from automatch.settings import Settings
from automatch.settings.database import PoolSettings
from automatch.settings.storage import BackupSettings
from automatch.store.database import Database as Pool
from automatch.store.installation import backups
from automatch.worker.scheduled_backup import ScheduledBackup
from tests.support.command import environment
from tests.support.doctor import write_secrets
from tests.support.photo_store import mark_folder
from tests.support.postgres import Database, TestCluster

pytestmark = pytest.mark.anyio


async def test_backup_is_made_when_it_is_due_and_not_again(
    cluster: TestCluster, database: Database, tmp_path: Path
) -> None:
    home, folder = tmp_path / "home", tmp_path / "backups"
    write_secrets(home, cluster.secrets)
    mark_folder(database.owner, home / "photos")
    # Else the next one might be due a moment later.
    far_away = (datetime.now(UTC).hour + 12) % 24
    settings = Settings(
        home=home,
        database_url=database.owner,
        backup=BackupSettings(to=str(folder), at_hour=far_away),
    )
    scheduled = ScheduledBackup(settings)

    with patch.dict("os.environ", environment(home) | {"AUTOMATCH_BACKUP__TO": str(folder)}):
        async with Pool(database.worker, PoolSettings(), name="test") as db:
            was_due = await scheduled.run_if_due(db)
            again = await scheduled.run_if_due(db)

    assert (was_due, again) == (True, False)
    names = await FolderPlace(folder).list_backups()
    async with backups.owner_connection(database.owner) as conn:
        runs = [(run.name, run.scheduled, run.error) for run in await backups.list_runs(conn)]
    assert runs == [(name, True, None) for name in names]
    assert len(runs) == 1
