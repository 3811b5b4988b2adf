"""Receipts of erasures: signed lists of what was destroyed, which anybody can check.

The same key signs backups, so that a restore can tell them from what somebody else put there.

A receipt is a JWS (RFC 7515, ES256) whose key is in the key set that the server publishes. The
key is made once and outlives the other secrets: a receipt is of use for years.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import secrets
from typing import TYPE_CHECKING, Any

from joserfc import jws
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, KeySet

from automatch.errors.configuration import SecretsError
from automatch.errors.request import ReceiptInvalidError
from automatch.settings.data_dir import create_data_dir
from automatch.settings.secrets import read_closed, write_closed

if TYPE_CHECKING:
    from pathlib import Path

_FILE_NAME = "receipt-key.json"
_ALGORITHM = "ES256"
_TYPE = "erasure-receipt+jws"
_BACKUP = "backup+jws"
_MAX_CHARS = 100_000


class Receipts:
    """Signs receipts and checks them.

    Args:
        home: the data folder, in which the key is made where there is none.
    """

    def __init__(self, home: Path) -> None:
        self._home = home
        self._key: ECKey | None = None

    def sign(self, claims: dict[str, Any]) -> str:
        """Return a receipt that says this.

        Raises:
            SecretsError: the file of the key is unusable.
        """
        payload = json.dumps(claims, separators=(",", ":")).encode()
        return self._sign(payload, {"typ": _TYPE})

    @property
    def fingerprint(self) -> str:
        """The thumbprint of the key (RFC 7638), by which operators know their own backups."""
        return self._load().thumbprint()

    @property
    def known_fingerprint(self) -> str | None:
        """The same, and None where no key was made yet, or it cannot be used."""
        try:
            return self.fingerprint if os.path.lexists(self._home / _FILE_NAME) else None
        except SecretsError:
            return None

    def sign_backup(self, manifest: bytes) -> str:
        """Return a signature of the manifest of a backup, with the key that checks it.

        Raises:
            SecretsError: the file of the key is unusable.
        """
        key = self._load().as_dict(private=False)
        return self._sign(hashlib.sha256(manifest).digest(), {"typ": _BACKUP, "jwk": key})

    def published_keys(self) -> dict[str, Any]:
        """Return the key set with which anybody checks a receipt.

        Raises:
            SecretsError: the file of the key is unusable.
        """
        key = self._load()
        public = key.as_dict(private=False)
        return {"keys": [public | {"kid": key.thumbprint(), "use": "sig", "alg": _ALGORITHM}]}

    def verify(self, receipt: str, keys: dict[str, Any] | None = None) -> dict[str, Any]:
        """Return what a receipt says, if it was signed with one of *keys*, or with ours.

        Raises:
            ReceiptInvalidError: it was not, or is no receipt.
        """
        if len(receipt) > _MAX_CHARS:
            raise ReceiptInvalidError
        try:
            key_set = KeySet.import_key_set(keys or self.published_keys())  # type: ignore[arg-type]
            found = jws.deserialize_compact(receipt.strip(), key_set, algorithms=[_ALGORITHM])
            if found.headers().get("typ") != _TYPE or found.payload is None:
                raise ReceiptInvalidError
            claims: dict[str, Any] = json.loads(found.payload)
        except (JoseError, ValueError, TypeError, KeyError) as exc:
            raise ReceiptInvalidError from exc
        return claims

    def _sign(self, payload: bytes, header: dict[str, Any]) -> str:
        key = self._load()
        header = {"alg": _ALGORITHM, "kid": key.thumbprint(), **header}
        return jws.serialize_compact(header, payload, key, algorithms=[_ALGORITHM])

    def _load(self) -> ECKey:
        if self._key is None:
            path = self._home / _FILE_NAME
            try:
                if not os.path.lexists(path):
                    self._create(path)
                self._key = ECKey.import_key(json.loads(read_closed(path)))
            except (OSError, JoseError, ValueError, TypeError) as exc:
                raise SecretsError(
                    f"The key of receipts {path} cannot be used; restore it from a backup, or move "
                    "it away: then receipts of before cannot be checked any more."
                ) from exc
        return self._key

    def _create(self, path: Path) -> None:
        create_data_dir(self._home)
        temp = path.with_name(f"{path.name}.{secrets.token_hex(8)}")
        write_closed(temp, ECKey.generate_key("P-256").as_dict(private=True))
        try:
            # A link, not a rename: a rename would replace the key of another process.
            with contextlib.suppress(FileExistsError):
                os.link(temp, path)
        finally:
            temp.unlink()


def read_backup_signature(signature: str, manifest: bytes) -> str:
    """Return the fingerprint of the key with which the manifest of a backup was signed.

    Whether it is the right key, only somebody can tell who has kept the fingerprint.

    Raises:
        ReceiptInvalidError: it is no signature of this manifest.
    """
    if len(signature) > _MAX_CHARS:
        raise ReceiptInvalidError
    try:
        header = jws.extract_compact(signature.strip().encode()).headers()
        key = ECKey.import_key(header["jwk"])
        found = jws.deserialize_compact(signature.strip(), key, algorithms=[_ALGORITHM])
    except (JoseError, ValueError, TypeError, KeyError) as exc:
        raise ReceiptInvalidError from exc
    if header.get("typ") != _BACKUP or found.payload != hashlib.sha256(manifest).digest():
        raise ReceiptInvalidError
    return key.thumbprint()
