"""Settings of the photo storage and of retention."""

from __future__ import annotations

from typing import Self

from pydantic import Field, SecretStr, model_validator

from automatch.settings.group import SERVICE_URL, SettingsGroup


class BucketSettings(SettingsGroup):
    """An S3 bucket, or one with the same protocol; needs `automatch[s3]`."""

    endpoint: str | None = Field(
        None,
        pattern=SERVICE_URL,
        description="Address of the storage, if it is not Amazon's: "
        "`https://PROJECT.storage.supabase.co/storage/v1/s3`.",
    )
    region: str = Field("us-east-1", min_length=1, description="Region of the bucket.")
    access_key_id: SecretStr | None = Field(
        None, description="Access key; without it, that of the role of the machine."
    )
    secret_access_key: SecretStr | None = Field(None, description="Secret of the access key.")
    timeout_s: float = Field(
        15, gt=0, description="Seconds that a request to the storage may take, with its retries."
    )

    @model_validator(mode="after")
    def _key_has_its_secret(self) -> Self:
        if (self.access_key_id is None) != (self.secret_access_key is None):
            raise ValueError("access_key_id and secret_access_key go together")
        return self


class PhotoSettings(BucketSettings):
    """Photos in an S3 bucket, or one with the same protocol; needs `automatch[s3]`."""

    bucket: str | None = Field(
        None,
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{1,62}$",
        description="Private bucket; if it is not set, the photos are in the data folder.",
    )


class BackupSettings(BucketSettings):
    """Where backups are kept. What has to do with buckets is used for `s3://` alone."""

    to: str | None = Field(
        None,
        pattern=r"^(/.+|s3://[A-Za-z0-9][A-Za-z0-9._-]{1,62}(/.*)?)$",
        examples=["/mnt/backups"],
        description="Folder, such as a mounted disk, or bucket (`s3://bucket/prefix`) for the "
        "backups of this installation alone; `automatch backup` needs no other.",
    )
    recipients: str = Field(
        "",
        pattern=r"^(age1[0-9a-z]+ ?)*$",
        description="Public keys of age (`age1…`), separated by spaces, to which backups are "
        "encrypted. `automatch backup new-key` makes one.",
    )
    every_h: int = Field(
        24,
        ge=1,
        description="Hours between two scheduled backups, which the worker that leads makes while "
        "`to` is set.",
    )
    at_hour: int = Field(
        3, ge=0, le=23, description="Hour of the day (UTC) from which these are counted."
    )
    keep_daily: int = Field(
        7,
        ge=1,
        description="Days of which a scheduled backup keeps the newest one; others are deleted.",
    )
    keep_weekly: int = Field(4, ge=0, description="Weeks of which it keeps the newest one too.")
    timeout_s: float = Field(
        60, gt=0, description="Seconds that a request to the storage may take, with its retries."
    )


class RetentionSettings(SettingsGroup):
    """What is deleted automatically, and when uploads stop."""

    jobs_days: int = Field(
        7, ge=1, description="Days after which completed and failed jobs are deleted."
    )
    orphan_photos_s: int = Field(
        3600, ge=60, description="Seconds after which a photo file without a face is deleted."
    )
    refused_uploads_s: int = Field(
        86400,
        ge=60,
        description="Seconds after which the file of a refused photo is deleted, and a photo with "
        "several faces whose owner did not choose theirs.",
    )
    cases_days: int = Field(
        365, ge=30, description="Days after a decision after which a report is deleted."
    )
    case_texts_days: int = Field(
        30,
        ge=1,
        description="Days after a decision during which it can be appealed; then what both sides "
        "wrote is deleted, and the address of somebody without an account.",
    )
    audit_log_days: int = Field(
        730, ge=1, description="Days after which entries of the operators' log are deleted."
    )
    cron_runs_days: int = Field(
        7, ge=1, description="Days after which runs of cron jobs are deleted, without pg_cron."
    )
    net_responses_s: int = Field(
        6 * 3600,
        ge=60,
        description="Seconds after which answers to `net.http_post()` and the like are deleted, "
        "without pg_net, which has its own setting.",
    )
    mails_s: int = Field(
        86400, ge=3600, description="Seconds after which a mail that was not sent is forgotten."
    )
    photo_views_days: int = Field(
        90, ge=1, description="Days after which it is forgotten who was shown whose photo."
    )
    matches_days: int = Field(
        0,
        ge=0,
        description="Days after which a match is forgotten; 0 keeps it as long as both photos. A "
        "later search may find it again.",
    )
    inactive_days: int = Field(
        365,
        ge=0,
        description="Days without a visit after which an account is warned by mail; 0 is never.",
    )
    inactive_grace_days: int = Field(
        30, ge=1, description="Days after that mail when it is erased, unless its person signs in."
    )
    inactive_without_mail: bool = Field(
        False,
        description="Whether accounts are erased that no mail can warn: without a mail server, or "
        "without an address.",
    )
    erasure_log: str | None = Field(
        None,
        description="File with a line for each erased person, by which a restored backup is "
        "cleaned of them; `erasures.log` in the data folder, if it is not set. On several machines "
        "it has to be one that they share.",
    )
    min_free_mb: int = Field(
        1024,
        ge=0,
        description="Uploads are refused when less MiB are free for photos or the embedded "
        "Postgres.",
    )
