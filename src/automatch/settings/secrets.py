"""The secrets of the installation: created at the first start, in one file for its user only."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import stat
import time
from dataclasses import asdict, dataclass, field, fields, replace
from itertools import pairwise
from typing import TYPE_CHECKING

from automatch.errors.configuration import InstallationMissingError, SecretsError
from automatch.settings.data_dir import advise_on_write, create_data_dir, sync_folder

if TYPE_CHECKING:
    from pathlib import Path

    from automatch.settings.settings import Settings

_FILE_NAME = "secrets.json"
_BYTES = 32
_MIN_CHARS = 32
_MIN_DIFFERENT = 8
_PLACEHOLDERS = (
    *("super-secret", "your-", "your_", "at-least-32", "at-least-256", "256-bit"),
    *("changeme", "change-me", "change_me", "change-this", "placeholder", "example", "insert-"),
    *("not-a-secret", "my-secret", "secret-key", "jwt-secret", "jwt_secret", "replace-"),
)


@dataclass(frozen=True)
class Secrets:
    """All secrets; the repr shows none of them."""

    jwt_secret: str = field(repr=False)
    """Signs the access tokens."""
    owner_password: str = field(repr=False)
    """Password of the superuser `postgres` of the embedded cluster."""
    api_password: str = field(repr=False)
    worker_password: str = field(repr=False)
    schedule_password: str = field(repr=False)
    photo_key: str = field(repr=False)
    """Signs links to photos, and the proof between the two steps of deleting an account."""
    address_key: str = field(repr=False)
    """Hashes addresses that are banned, and encrypts those of people without an account."""
    push_key: str = field(repr=False)
    """Push services know the installation by it; devices that were to be told must ask again
    after it has changed."""
    old_jwt_secret: str = field(default="", repr=False)
    """What `jwt_secret` was before it was rotated; it verifies tokens for a while."""
    old_jwt_until: int = 0
    """Until when it does: seconds since the epoch."""


SECRET_NAMES = tuple(item.name for item in fields(Secrets) if not item.name.startswith("old_"))
"""The secrets that every installation has."""


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
        return _parse(path, read_closed(path))
    except OSError as exc:
        raise _unusable(path, exc) from exc


def secrets_of(settings: Settings, *, create: bool = False) -> Secrets:
    """Return the secrets that the settings give, else those in the data folder.

    With *create* they are made where there are none.

    Raises: see `read`.
    """
    if settings.secrets is not None:
        return _parse("AUTOMATCH_SECRETS", settings.secrets.get_secret_value().encode())
    return load_or_create(settings.home) if create else read(settings.home)


def read(home: Path, *, allow_weak: bool = False) -> Secrets:
    """Read `secrets.json` in the data folder without creating it.

    With *allow_weak* it returns secrets that are easy to guess too, so that they can be rotated.

    Raises:
        InstallationMissingError: there is no such file.
        SecretsError: it is unusable, as in `load_or_create`.
    """
    path = secrets_file(home)
    try:
        return _parse(path, read_closed(path), allow_weak=allow_weak)
    except FileNotFoundError as exc:
        raise InstallationMissingError(
            f"There is no installation in {home}: name its data folder with --home or "
            "AUTOMATCH_HOME, or make a new one with `automatch up` (on your own Postgres: "
            "`automatch migrate`)."
        ) from exc
    except OSError as exc:
        raise _unusable(path, exc) from exc


def rotate(home: Path, name: str, *, overlap_s: int = 0) -> Secrets:
    """Replace one secret by a new one, in one step, and return all.

    Args:
        home: the data folder.
        name: one of `SECRET_NAMES`.
        overlap_s: for how long a replaced `jwt_secret` goes on to verify tokens.

    Raises:
        SecretsError: the file is missing or unusable.
    """
    before = read(home, allow_weak=True)
    changes: dict[str, object] = {name: secrets.token_urlsafe(_BYTES)}
    if name == "jwt_secret":
        keep = overlap_s > 0 and not is_weak(before.jwt_secret)
        changes["old_jwt_secret"] = before.jwt_secret if keep else ""
        changes["old_jwt_until"] = int(time.time()) + overlap_s if keep else 0
    after = replace(before, **changes)  # type: ignore[arg-type]  # names and types are the fields'
    write_closed(secrets_file(home), asdict(after))
    return after


def write_closed(path: Path, values: object) -> None:
    """Replace a file by JSON that only its owner can read, in one step."""
    temp = _write_temp(path, values)
    temp.replace(path)
    sync_folder(path.parent)


def is_weak(secret: str) -> bool:
    """Tell whether a secret is easy to guess, long as it may be.

    It is the placeholder of some documentation, has few different characters, repeats itself or
    counts up. Of random secrets of 32 hexadecimal digits one in ten million is refused.
    """
    text = secret.casefold()
    steps = [abs(ord(one) - ord(other)) <= 1 for one, other in pairwise(text)]
    return (
        len(set(text)) < _MIN_DIFFERENT
        # Of 32 random digits 14 in a million have more than half, as neighbours are often near.
        or sum(steps) > 0.6 * len(steps)
        or (text * 2).find(text, 1) < len(text)
        or any(words in text for words in _PLACEHOLDERS)
    )


def secrets_file(home: Path) -> Path:
    """Return the path of the secrets file."""
    return home / _FILE_NAME


def _unusable(path: Path, exc: OSError) -> SecretsError:
    return SecretsError(
        f"The secrets file {path} cannot be used ({exc.strerror}); {advise_on_write(path, exc)}."
    )


def _create(path: Path) -> None:
    temp = _write_temp(path, {name: secrets.token_urlsafe(_BYTES) for name in SECRET_NAMES})
    try:
        # A link, not a rename: a rename would replace the file of another first start.
        with contextlib.suppress(FileExistsError):
            os.link(temp, path)
    finally:
        temp.unlink()
    sync_folder(path.parent)


def _write_temp(path: Path, values: object) -> Path:
    temp = path.with_name(f"{path.name}.{secrets.token_hex(8)}")
    descriptor = os.open(temp, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    try:
        with os.fdopen(descriptor, "w") as file:
            json.dump(values, file, indent=2)
            file.flush()
            os.fsync(file.fileno())
    except BaseException:
        temp.unlink()
        raise
    return temp


def read_closed(path: Path) -> bytes:
    """Return the content of a file that nobody else can read.

    Raises:
        SecretsError: somebody else can, or it is no file of this user.
        OSError: it cannot be read; a FileNotFoundError when it is not there.
    """
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


def _parse(path: Path | str, content: bytes, *, allow_weak: bool = False) -> Secrets:
    try:
        values = json.loads(content)
        found = Secrets(
            **{name: values[name] for name in SECRET_NAMES},
            old_jwt_secret=values.get("old_jwt_secret", ""),
            old_jwt_until=int(values.get("old_jwt_until", 0)),
        )
        by_name = {name: getattr(found, name) for name in SECRET_NAMES}
        is_damaged = not isinstance(found.old_jwt_secret, str) or not all(
            isinstance(value, str) and len(value) >= _MIN_CHARS for value in by_name.values()
        )
    except (ValueError, KeyError, TypeError, AttributeError):
        is_damaged = True
    if is_damaged:
        # Not quoted: the message of the parser would contain the secrets.
        raise SecretsError(
            f"The secrets in {path} are damaged; restore them from a backup (new ones would not "
            "fit the existing database)."
        )
    weak = next((name for name, value in by_name.items() if is_weak(value)), None)
    if weak is not None and not allow_weak:
        command = f"automatch secrets rotate {weak.replace('_', '-')}"
        raise SecretsError(f"{weak} in {path} is easy to guess; run `{command}`.")
    return found
