"""Errors of what the operator configured."""

from __future__ import annotations

from automatch.errors.base import AutomatchError


class SettingsError(AutomatchError):
    """A setting cannot work; docs/settings.md names them all."""

    code = "settings_invalid"


class SecretsError(SettingsError):
    """The secrets file cannot be used."""

    code = "secrets_invalid"


class InstallationMissingError(SecretsError):
    """The data folder is of no installation."""

    code = "installation_missing"


class InstanceRunningError(SettingsError):
    """Another Auto-Match already runs on this data folder."""

    code = "instance_running"


class ModelsFileError(SettingsError):
    """The file models.toml of the data folder has a mistake."""

    code = "models_file_invalid"


class WrongPhotoStoreError(SettingsError):
    """The photo store is not the one of the database."""

    code = "photo_store_wrong"


class BenchFailedError(AutomatchError):
    """The installation of a benchmark does not work."""

    code = "bench_failed"
