"""How settings are named in the environment, and which of them may be in files."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import get_args

from pydantic import BaseModel, SecretStr
from pydantic.fields import FieldInfo

from automatch.errors.configuration import SettingsError
from automatch.settings.group import SettingsGroup

PREFIX = "AUTOMATCH_"
IN_FILE = "_FILE"
"""What the name of a secret has behind it when the value is the path of a file."""
RENAMED = {
    "AUTOMATCH_POOL__ANSWER_S": "AUTOMATCH_POOL__TRANSACTION_TIMEOUT_S",
    "AUTOMATCH_VISION__MAX_TURN_DEGREES": "AUTOMATCH_VISION__MAX_YAW_DEGREES",
    "AUTOMATCH_WORKER__LANES": "AUTOMATCH_WORKER__CONCURRENCY",
    "AUTOMATCH_WORKER__STOP_S": "AUTOMATCH_WORKER__SHUTDOWN_TIMEOUT_S",
    "AUTOMATCH_WORKER__TROUBLE_MAX_S": "AUTOMATCH_WORKER__OUTAGE_PAUSE_MAX_S",
}
"""Settings that have another name now, so that the message can say which."""


def named_fields(settings: type[BaseModel]) -> dict[str, FieldInfo]:
    """Return every setting by its environment name in lower case, without the prefix."""
    fields: dict[str, FieldInfo] = {}
    for name, field in settings.model_fields.items():
        group = field.annotation
        if isinstance(group, type) and issubclass(group, SettingsGroup):
            fields |= {f"{name}__{sub}": own for sub, own in group.model_fields.items()}
        else:
            fields[name] = field
    return fields


def named_secrets(settings: type[BaseModel]) -> list[str]:
    """Return the names of the settings that may be in a file instead."""
    return [name for name, field in named_fields(settings).items() if _is_secret(field)]


def add_files(
    variables: Mapping[str, str | None], settings: type[BaseModel]
) -> dict[str, str | None]:
    """Return variables of the environment, with the secrets that are in files.

    Raises:
        SettingsError: a file cannot be read, or a secret is given twice.
    """
    found = dict(variables)
    for name in named_secrets(settings):
        setting = f"{PREFIX}{name}".lower()
        path = found.pop(f"{setting}{IN_FILE}".lower(), None)
        if not path:
            continue
        variable = f"{setting}{IN_FILE}".upper()
        if found.get(setting):
            raise SettingsError(f"{variable} is set, and so is the name without {IN_FILE}.")
        try:
            found[setting] = Path(path).read_text("utf-8").strip()
        except (OSError, UnicodeError) as exc:
            raise SettingsError(f"{variable}: the file {path} cannot be read.") from exc
    return found


def _is_secret(field: FieldInfo) -> bool:
    return SecretStr in (field.annotation, *get_args(field.annotation))
