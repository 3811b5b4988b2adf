"""An installation on a database of the test's own, with photos, that is backed up to a folder."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from automatch.auth.receipts import Receipts
from automatch.ops.backup.keys import Identities, Recipients, new_key
from automatch.ops.backup.manifest import Manifest
from automatch.ops.backup.place import FolderPlace, Place
from automatch.ops.backup.restore import restored
from automatch.ops.backup.take import BackupRunner
from automatch.photos.folder import FolderPhotos
from automatch.photos.store import PhotoStore, photo_path
from automatch.settings import Settings
from automatch.settings.secrets import Secrets, read
from automatch.settings.storage import RetentionSettings
from tests.support.build import a_face, a_profile, connect, unit
from tests.support.doctor import write_secrets
from tests.support.photo_store import mark_folder
from tests.support.postgres import Database, TestCluster


def _ignore(step: str, done: int, total: int) -> None:
    """Take the progress of a test."""


@dataclass(frozen=True)
class Installation:
    """What is backed up, and to where."""

    settings: Settings
    secrets: Secrets
    photos: PhotoStore
    place: Place
    key: Path
    recipients: Recipients
    folder: Path
    """Where the backups are."""

    @property
    def owner(self) -> str:
        assert self.settings.database_url is not None
        return self.settings.database_url.get_secret_value()

    @property
    def identities(self) -> Identities:
        return Identities(self.key)

    def changed(self, **values: Any) -> Installation:
        return replace(self, **values)

    async def back_up(self, *, check: bool = True, encrypted: bool = True) -> Manifest:
        """Make a backup."""
        runner = BackupRunner(
            self.settings,
            self.secrets,
            self.photos,
            self.place,
            recipients=self.recipients if encrypted else Recipients([]),
            identities=self.identities,
            report=_ignore,
        )
        return await runner.run(check=check)

    async def restore(
        self, manifest: Manifest, home: Path, database: str, *, key: bool = True, **options: bool
    ) -> Settings:
        """Restore a backup into a data folder and a database; return their settings."""
        settings = self.settings.model_copy(
            update={"home": home, "database_url": type(self.settings.database_url)(database)}
        )
        identities = self.identities if key else Identities(None)
        async with restored(
            settings,
            self.place,
            manifest,
            identities,
            _ignore,
            signed_by=Receipts(self.settings.home).fingerprint,
            **options,
        ):
            assert read(home) is not None
        return settings

    async def add_photo(self, number: int, *, is_final: bool = True) -> str:
        """Add a person with a photo, which a worker has seen or not; return the path."""
        with connect(self.owner) as conn:
            profile = a_profile(conn)
            face: UUID = a_face(conn, profile, unit(number))
            path = photo_path(face)
            conn.execute("update faces set image_path = %s where id = %s", [path, face])
            if not is_final:
                conn.execute("delete from face_embeddings where face_id = %s", [face])
        if is_final:
            await self.photos.put_copies(path, full=b"full of %d" % number, thumb=b"small")
        else:
            await self.photos.put_upload(path, b"upload of %d" % number)
        return path

    def ask(self, statement: str, *parameters: object) -> list[Any]:
        """Return the first column of a statement."""
        with connect(self.owner) as conn:
            return [row[0] for row in conn.execute(statement, parameters)]


@pytest.fixture
def installation(cluster: TestCluster, database: Database, tmp_path: Path) -> Installation:
    """Give an installation without photos, and a key for its backups."""
    home = tmp_path / "home"
    write_secrets(home, cluster.secrets)
    mark_folder(database.owner, home / "photos")
    secret, public = new_key()
    key = tmp_path / "backup.key"
    key.write_text(f"# public key: {public}\n{secret}\n")
    folder = tmp_path / "backups"
    return Installation(
        Settings(
            home=home,
            database_url=database.owner,
            retention=RetentionSettings(min_free_mb=0),
        ),
        cluster.secrets,
        FolderPhotos(home / "photos", min_free_mb=0),
        FolderPlace(folder),
        key,
        Recipients([public]),
        folder,
    )
