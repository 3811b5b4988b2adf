"""Mail addresses that are kept so that nobody who reads the database learns them."""

from __future__ import annotations

import hashlib
import hmac

from joserfc import jwe
from joserfc.errors import JoseError
from joserfc.jwk import OctKey

_HEADER = {"alg": "dir", "enc": "A256GCM"}


class AddressKey:
    """Hashes addresses to recognize them again, and encrypts those that are written to later."""

    def __init__(self, key: str) -> None:
        self._hash_key = hashlib.sha256(b"address hash " + key.encode()).digest()
        self._key = OctKey.import_key(
            hashlib.sha256(b"address encryption " + key.encode()).digest()
        )

    def hash(self, email: str) -> bytes:
        """Return the keyed hash of a normalized address; what follows a `+` does not count."""
        local, _, domain = email.rpartition("@")
        text = f"{local.partition('+')[0]}@{domain}"
        return hmac.digest(self._hash_key, text.encode(), "sha256")

    def encrypt(self, email: str) -> str:
        """Return an address so that it can be read with the key of the installation only."""
        return jwe.encrypt_compact(_HEADER, email, self._key)

    def decrypt(self, encrypted: str) -> str | None:
        """Return the address, or None after the key was replaced."""
        try:
            plaintext = jwe.decrypt_compact(encrypted, self._key).plaintext
        except JoseError:
            return None
        return plaintext.decode() if plaintext is not None else None
