"""Encryption of backups in the format of age, which the program `age` opens too."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import pyrage

from automatch.errors.configuration import SettingsError
from automatch.errors.store import BackupDamagedError

if TYPE_CHECKING:
    from collections.abc import Sequence

_SECRET = "AGE-SECRET-KEY-"  # noqa: S105  how the line of a key begins
PLAIN = "plain"


class Recipients:
    """Who can open a backup; nobody has to, if there are none.

    Raises:
        SettingsError: one is no public key of age.
    """

    def __init__(self, names: Sequence[str]) -> None:
        self.names = sorted(set(names))
        try:
            self._keys = [pyrage.x25519.Recipient.from_str(name) for name in self.names]
        except pyrage.RecipientError as exc:
            raise SettingsError(
                "A recipient of backups is a public key of age, which begins with age1; "
                "`automatch backup new-key FILE` makes one."
            ) from exc

    def __bool__(self) -> bool:
        return bool(self._keys)

    @property
    def pool(self) -> str:
        """The name of what is encrypted to just these."""
        if not self:
            return PLAIN
        return hashlib.sha256(" ".join(self.names).encode()).hexdigest()[:16]

    @property
    def suffix(self) -> str:
        """The end of a file's name."""
        return ".age" if self else ""

    def encrypt(self, content: bytes) -> bytes:
        return bytes(pyrage.encrypt(content, self._keys)) if self else content

    def encrypt_stream(self, source: IO[bytes], target: IO[bytes] | HashingFile) -> None:
        """Read *source* to its end."""
        if self:
            pyrage.encrypt_io(source, target, self._keys)
        else:
            while chunk := source.read(1 << 20):
                target.write(chunk)


class Identities:
    """The secret keys of a file as `age-keygen` writes it; none without a file.

    Raises:
        SettingsError: it cannot be read, or has no secret key.
    """

    def __init__(self, path: Path | None) -> None:
        self._keys: list[Any] = []
        if path is None:
            return
        try:
            lines = [line.strip() for line in path.read_text("ascii").splitlines()]
            self._keys = [
                pyrage.x25519.Identity.from_str(line) for line in lines if line.startswith(_SECRET)
            ]
        except (OSError, UnicodeError, pyrage.IdentityError):
            # Not chained: the message could have part of the key.
            self._keys = []
        if not self._keys:
            raise SettingsError(
                f"{path} has no secret key of age (a line that begins with {_SECRET}1)."
            ) from None

    def __bool__(self) -> bool:
        return bool(self._keys)

    @property
    def public_keys(self) -> list[str]:
        return [str(key.to_public()) for key in self._keys]

    def decrypt(self, content: bytes, name: str) -> bytes:
        """Return the content of a file called *name*, which tells whether it is encrypted."""
        if not name.endswith(".age"):
            return content
        try:
            return bytes(pyrage.decrypt(content, self._keys))
        except (pyrage.DecryptError, OSError) as exc:
            raise self._refused(name) from exc

    def decrypt_stream(self, source: IO[bytes], target: IO[bytes], name: str) -> None:
        """Read a file called *name* to its end."""
        if not name.endswith(".age"):
            while chunk := source.read(1 << 20):
                target.write(chunk)
            return
        try:
            pyrage.decrypt_io(source, target, self._keys)
        except pyrage.DecryptError as exc:
            raise self._refused(name) from exc

    @staticmethod
    def _refused(name: str) -> BackupDamagedError:
        return BackupDamagedError(f"{name} is not opened by this key.")


def new_key() -> tuple[str, str]:
    """Return a new secret key, and the public key to which is encrypted."""
    identity = pyrage.x25519.Identity.generate()
    return str(identity), str(identity.to_public())


class HashingFile:
    """A file that is written and hashed at once."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._digest = hashlib.sha256()
        self.size = 0

    def write(self, chunk: bytes) -> int:
        self._digest.update(chunk)
        self.size += len(chunk)
        return self._file.write(chunk)

    def flush(self) -> None:
        self._file.flush()

    @property
    def sha256(self) -> str:
        return self._digest.hexdigest()
