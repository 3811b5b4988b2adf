"""The secrets of the installation: created at the first start, in one file for its user only."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import stat
from dataclasses import asdict, dataclass, field, fields
from typing import TYPE_CHECKING

from automatch.errors.configuration import SecretsError
from automatch.settings.data_dir import create_data_dir

if TYPE_CHECKING:
    from pathlib import Path

_FILE_NAME = "secrets.json"
_BYTES = 32
_MIN_CHARS = 32


@dataclass(frozen=True)
class Secrets:
    """All secrets; the repr shows none of them."""

    jwt_secret: str = field(repr=False)
    """Signs the access tokens."""
    owner_password: str = field(repr=False)
    """Password of the superuser `postgres` of the embedded cluster."""
    api_password: str = field(repr=False)
    worker_password: str = field(repr=False)
    photo_key: str = field(repr=False)
    """Signs the links to photos."""


def load_or_create(home: Path) -> Secrets:
    """Read `secrets.json` in the data folder; create folder and file if they are missing.

    Processes that start at the same time end up with the same file.

    Raises:
        SecretsError: other users can read the file, it belongs to another user, or it is damaged.
    """
    create_data_dir(home)
    path = secrets_file(home)
    try:
        if not os.path.lexists(path):
            _create(path)
        return _parse(path, _read_closed(path))
    except OSError as exc:
        raise _unusable(path, exc) from exc


def read(home: Path) -> Secrets:
    """Read `secrets.json` in the data folder without creating it.

    Raises:
        SecretsError: the file is missing, or unusable as in `load_or_create`.
    """
    path = secrets_file(home)
    try:
        return _parse(path, _read_closed(path))
    except FileNotFoundError as exc:
        raise SecretsError(
            f"There is no secrets file {path}; `automatch up` makes one, or AUTOMATCH_HOME names "
            "another folder than the one in use."
        ) from exc
    except OSError as exc:
        raise _unusable(path, exc) from exc


def secrets_file(home: Path) -> Path:
    """Return the path of the secrets file."""
    return home / _FILE_NAME


def _unusable(path: Path, exc: OSError) -> SecretsError:
    return SecretsError(
        f"The secrets file {path} cannot be used ({exc.strerror}); "
        "give it to the user that runs Auto-Match."
    )


def _create(path: Path) -> None:
    values = Secrets(*(secrets.token_urlsafe(_BYTES) for _ in fields(Secrets)))
    temp = path.with_name(f"{_FILE_NAME}.{secrets.token_hex(8)}")
    descriptor = os.open(temp, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    try:
        with os.fdopen(descriptor, "w") as file:
            json.dump(asdict(values), file, indent=2)
            file.flush()
            os.fsync(file.fileno())
        # A link, not a rename: a rename would replace the file of another first start.
        with contextlib.suppress(FileExistsError):
            os.link(temp, path)
    finally:
        temp.unlink()
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _read_closed(path: Path) -> bytes:
    if path.is_symlink():
        raise SecretsError(f"The secrets file {path} is a link; put the file itself there.")
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    with os.fdopen(descriptor, "rb") as file:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise SecretsError(f"The secrets file {path} is not a file; remove it.")
        if status.st_uid != os.geteuid():
            raise SecretsError(
                f"The secrets file {path} belongs to another user; "
                "run Auto-Match as that user or give the file to this one."
            )
        if status.st_mode & 0o077:
            raise SecretsError(
                f"The secrets file {path} is open to other users; run `chmod 600 {path}`, and "
                "replace the secrets if somebody may have read them."
            )
        return file.read()


def _parse(path: Path, content: bytes) -> Secrets:
    try:
        values = json.loads(content)
        secrets_by_name = {item.name: values[item.name] for item in fields(Secrets)}
    except (ValueError, KeyError, TypeError):
        secrets_by_name = {}
    if not secrets_by_name or not all(
        isinstance(value, str) and len(value) >= _MIN_CHARS for value in secrets_by_name.values()
    ):
        # Neither chained nor quoted: the message of the parser would contain the secrets.
        raise SecretsError(
            f"The secrets file {path} is damaged; restore it from a backup (a new one would not "
            "fit the existing database)."
        ) from None
    return Secrets(**secrets_by_name)
