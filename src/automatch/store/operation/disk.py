"""Free space on the disks of the photos and of the embedded Postgres."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from automatch.settings import Settings


@dataclass(frozen=True, slots=True)
class Disk:
    """The room on a disk."""

    free_bytes: int
    total_bytes: int


def list_data_folders(settings: Settings) -> list[Path]:
    """Return the folders that grow with uploads.

    When run as root, the folder of the embedded Postgres may be a link to another disk.
    """
    folders = [] if settings.photos.bucket else [settings.home / "photos"]
    if settings.database_url is None:
        folders.append(settings.home / "postgres")
    return folders


def free_bytes(folders: Iterable[Path]) -> int:
    """Return the free bytes on the fullest of their disks."""
    disk = fullest_disk(folders)
    return disk.free_bytes if disk else sys.maxsize


def fullest_disk(folders: Iterable[Path]) -> Disk | None:
    """Return the disk with the least free bytes, or None when nothing is kept on this machine."""
    disks = (shutil.disk_usage(_existing(folder)) for folder in folders)
    return min(
        (Disk(disk.free, disk.total) for disk in disks),
        key=lambda disk: disk.free_bytes,
        default=None,
    )


def _existing(folder: Path) -> Path:
    # The photo folder is created by the first upload.
    return next(path for path in (folder, *folder.parents) if path.exists())
