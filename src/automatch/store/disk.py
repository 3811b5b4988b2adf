"""Free space on the disks that must not fill up: of the photos, and of a Postgres of our own."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterable
from pathlib import Path

from automatch.settings import Settings


def guarded_folders(settings: Settings) -> list[Path]:
    """Return the folders that uploads fill.

    Run as root, the embedded Postgres may lie elsewhere than the photos; the link is followed.
    """
    folders = [] if settings.photos.bucket else [settings.home / "photos"]
    if settings.database_url is None:
        folders.append(settings.home / "postgres")
    return folders


def free_bytes(folders: Iterable[Path]) -> int:
    """Return how much the fullest of their disks can still take."""
    free = (shutil.disk_usage(_existing(folder)).free for folder in folders)
    return min(free, default=sys.maxsize)


def _existing(folder: Path) -> Path:
    # The photo folder is made by the first upload.
    return next(place for place in (folder, *folder.parents) if place.exists())
