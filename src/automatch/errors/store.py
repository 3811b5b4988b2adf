"""Errors of Postgres and of the photo storage."""

from __future__ import annotations

from automatch.errors.base import AutomatchError


class StoreError(AutomatchError):
    """The store does not answer."""

    code = "store_failed"


class DatabaseUnavailableError(StoreError):
    """The database does not answer; try again in a moment."""

    code = "db_unavailable"
    transient = True


class MachineAwayError(DatabaseUnavailableError):
    """A machine of the database does not answer; try again in a moment."""


class NotReadyError(StoreError):
    """A part of the server has just failed and is being started again."""

    code = "not_ready"
    transient = True


class InstallationError(StoreError):
    """The database lacks something that this worker needs, or does not let it use it."""

    code = "installation_broken"
    transient = True


class ServerUnfitError(StoreError):
    """This version cannot work with the Postgres server."""

    code = "server_unfit"


class DatabaseNewerError(StoreError):
    """The database was migrated by a newer Auto-Match; install that version."""

    code = "db_newer"


class DatabaseOlderError(StoreError):
    """The database is not migrated to this version; run `automatch migrate`."""

    code = "db_older"


class MigrationError(StoreError):
    """A migration could not be applied."""

    code = "migration_failed"


class EmbeddedPostgresError(StoreError):
    """The embedded Postgres could not be started."""

    code = "embedded_postgres_failed"


class ErasureLogError(StoreError):
    """The log of erasures cannot be used."""

    code = "erasure_log_unavailable"


class BackupError(StoreError):
    """A backup could not be made or read."""

    code = "backup_failed"


class BackupDamagedError(BackupError):
    """A backup is not what its manifest says."""

    code = "backup_damaged"


class RestoreRefusedError(BackupError):
    """A backup cannot be restored here."""

    code = "restore_refused"


class QueueFullError(StoreError):
    """More photos wait than the server takes in; try again in a minute."""

    code = "queue_full"
    transient = True


class QueuePausedError(StoreError):
    """Jobs wait and the queue is paused; `automatch jobs resume` lets them go on."""

    code = "queue_paused"
    transient = True


class JobsUnfinishedError(StoreError):
    """Jobs wait and none has ended yet; see `automatch jobs stats`, or ask again in a moment."""

    code = "jobs_unfinished"
    transient = True


class StorageFullError(StoreError):
    """The server has no room, so nothing was kept; its operator has to make some. Try later."""

    code = "storage_full"
    transient = True


class PhotoStorageError(StoreError):
    """The storage of the photos does not answer; try again in a moment."""

    code = "storage_unavailable"
    transient = True
    reason: str | None = None
    """What is wrong, for operators alone; it may name a folder or a bucket."""

    def __init__(self, message: str | None = None, *, reason: str | None = None) -> None:
        super().__init__(message)
        self.reason = reason
