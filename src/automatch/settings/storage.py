"""Settings of the photo storage and of retention."""

from __future__ import annotations

from typing import Self

from pydantic import Field, SecretStr, model_validator

from automatch.settings.group import SERVICE_URL, SettingsGroup


class PhotoSettings(SettingsGroup):
    """Photos in a bucket of S3, or of what speaks its protocol; needs `automatch[s3]`."""

    bucket: str | None = Field(
        None,
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{1,62}$",
        description="Private bucket; the photos are in the data folder when it is not set.",
    )
    endpoint: str | None = Field(
        None,
        pattern=SERVICE_URL,
        description="Address of the storage, if it is not Amazon's: "
        "`https://PROJECT.storage.supabase.co/storage/v1/s3`.",
    )
    region: str = Field("us-east-1", min_length=1, description="Region of the bucket.")
    access_key_id: SecretStr | None = Field(
        None, description="Access key; without it that of the machine's role."
    )
    secret_access_key: SecretStr | None = Field(None, description="Its secret.")
    timeout_s: float = Field(
        15, gt=0, description="Seconds that the storage may take for a request, tries included."
    )

    @model_validator(mode="after")
    def _key_has_its_secret(self) -> Self:
        if (self.access_key_id is None) != (self.secret_access_key is None):
            raise ValueError("photos.access_key_id and photos.secret_access_key go together")
        return self


class RetentionSettings(SettingsGroup):
    """What leaves by itself."""

    jobs_days: int = Field(7, ge=1, description="Finished jobs are deleted after so many days.")
    orphan_photos_s: int = Field(
        3600, ge=60, description="A photo file without a face is deleted after so many seconds."
    )
    refused_uploads_s: int = Field(
        86400,
        ge=60,
        description="The file of a refused photo is deleted after so many seconds, and a photo "
        "with several faces whose owner did not say which is theirs.",
    )
    min_free_mb: int = Field(
        1024,
        ge=0,
        description="Uploads are refused when less space is left for photos or the embedded "
        "Postgres.",
    )
