"""The key pair by which push services know this installation (VAPID, RFC 8292)."""

from __future__ import annotations

from base64 import urlsafe_b64encode
from functools import cache

from cryptography.hazmat.primitives.asymmetric.ec import (
    SECP256R1,
    EllipticCurvePrivateKey,
    derive_private_key,
)
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551


@cache
def _private_key(secret: str) -> EllipticCurvePrivateKey:
    # Twelve bytes more than the order has, so that no number is likelier than another.
    seed = HKDF(SHA256(), 44, salt=None, info=b"automatch web push").derive(secret.encode())
    return derive_private_key(int.from_bytes(seed) % (_ORDER - 1) + 1, SECP256R1())


def public_key(secret: str) -> str:
    """Return the key that a browser subscribes with, in base64url."""
    point = _private_key(secret).public_key()
    text = urlsafe_b64encode(point.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint))
    return text.rstrip(b"=").decode()


def key_pair(secret: str) -> tuple[bytes, bytes]:
    """Return the private and the public key as PEM."""
    private = _private_key(secret)
    return (
        private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()),
        private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo),
    )
