"""Reading the settings from the environment, with messages that name what is wrong."""

from __future__ import annotations

import os
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from automatch.errors.configuration import SettingsError
from automatch.settings.environment import IN_FILE, PREFIX, RENAMED, named_fields, named_secrets
from automatch.settings.settings import Settings


def load_settings(**overrides: Any) -> Settings:
    """Read the settings from the environment.

    Args:
        overrides: values from the command line; `None` means not given.

    Raises:
        SettingsError: a value is out of bounds, two values contradict each other, a file with a
            secret cannot be read, or the environment has an `AUTOMATCH_` name that no setting
            has, such as a misspelt one.
    """
    _check_names()
    given = {name: value for name, value in overrides.items() if value is not None}
    try:
        return Settings(**given)
    except ValidationError as exc:
        first = exc.errors()[0]
        name = PREFIX + "__".join(str(part) for part in first["loc"]).upper()
        raise SettingsError(f"{name}: {_explain(first)}.") from exc


def _explain(error: ErrorDetails) -> str:
    """Return what is wrong with a value; of a pattern, what fits it."""
    if error["type"] != "string_pattern_mismatch":
        return error["msg"]
    field = named_fields(Settings)["__".join(str(part) for part in error["loc"])]
    example = field.examples[0] if field.examples else field.default
    return f"should look like {example}" if example else "has a form of its own: docs/settings.md"


def _check_names() -> None:
    known = {f"{PREFIX}{path}".upper() for path in setting_names()}
    known |= {f"{PREFIX}{path}{IN_FILE}".upper() for path in secret_names()}
    for name in os.environ:
        if name in RENAMED:
            raise SettingsError(f"{name} was renamed to {RENAMED[name]}.")
        if name.startswith(PREFIX) and name not in known and not name.startswith("AUTOMATCH_TEST_"):
            raise SettingsError(f"{name} is no setting of Auto-Match; see docs/settings.md.")


def setting_names() -> list[str]:
    """Return every setting as its environment name without the prefix, groups expanded."""
    return list(named_fields(Settings))


def secret_names() -> list[str]:
    """Return the names of the settings that may be in a file instead."""
    return named_secrets(Settings)
