"""The data folder: made closed, and never a folder of someone else opened."""

from __future__ import annotations

from typing import TYPE_CHECKING

from automatch.errors.configuration import SettingsError

if TYPE_CHECKING:
    from pathlib import Path

_MARKER = ".made-by-automatch"


def create_home(home: Path) -> None:
    """Make the data folder with mode 0700 when it is missing; an existing one stays as it is.

    Raises:
        SettingsError: it cannot be made.
    """
    try:
        home.parent.mkdir(parents=True, exist_ok=True)
        try:
            home.mkdir(mode=0o700)
        except FileExistsError:
            if not home.is_dir():
                raise
            return
        (home / _MARKER).touch(mode=0o600)
    except OSError as exc:
        raise SettingsError(
            f"The data folder {home} cannot be made ({exc.strerror}); "
            "set AUTOMATCH_HOME to a folder that you may write to."
        ) from exc


def made_by_us(home: Path) -> bool:
    """Tell whether Auto-Match made this folder; only then it may change the folder's mode."""
    return (home / _MARKER).exists()
