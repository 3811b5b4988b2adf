"""The photo store that the settings ask for."""

from __future__ import annotations

from automatch.errors.configuration import SettingsError
from automatch.photos.folder import FolderPhotos
from automatch.photos.store import PhotoStore
from automatch.settings import Settings


def make_photos(settings: Settings) -> PhotoStore:
    """Return the photo store that *settings* ask for.

    Raises:
        SettingsError: they ask for a bucket, and the library for that is not installed.
    """
    if settings.photos.bucket is not None:
        try:
            from automatch.photos.bucket import BucketPhotos
        except ImportError as exc:
            raise SettingsError(
                "AUTOMATCH_PHOTOS__BUCKET needs one more library: pip install 'automatch[s3]'."
            ) from exc
        return BucketPhotos(settings.photos)
    return FolderPhotos(settings.home / "photos", min_free_mb=settings.retention.min_free_mb)
