"""Receipts: signed, checked by anybody with the published keys, and not to be changed."""

from __future__ import annotations

import base64
import json

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from joserfc import jws
from joserfc.jwk import ECKey

from automatch.auth.receipts import Receipts
from automatch.errors.configuration import SecretsError
from automatch.errors.request import ReceiptInvalidError

CLAIMS = {"iss": "https://match.example.org", "act": "person", "person_sha256": "00"}


def decode(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def check_by_hand(receipt: str, keys: dict) -> dict:
    """Check a receipt as somebody would who has nothing of ours."""
    head, payload, signature = receipt.split(".")
    [key] = [k for k in keys["keys"] if k["kid"] == json.loads(decode(head))["kid"]]
    x, y = (int.from_bytes(decode(key[name])) for name in "xy")
    raw = decode(signature)
    r, s = int.from_bytes(raw[:32]), int.from_bytes(raw[32:])
    ec.EllipticCurvePublicNumbers(x, y, ec.SECP256R1()).public_key().verify(
        encode_dss_signature(r, s), f"{head}.{payload}".encode(), ec.ECDSA(SHA256())
    )
    return json.loads(decode(payload))


def test_anybody_can_check_a_receipt_with_the_published_keys_alone(tmp_path):
    receipts = Receipts(tmp_path / "home")
    receipt, keys = receipts.sign(CLAIMS), receipts.published_keys()

    assert check_by_hand(receipt, keys) == CLAIMS
    assert "d" not in keys["keys"][0]
    head, payload, signature = receipt.split(".")
    other = base64.urlsafe_b64encode(decode(payload).replace(b"person", b"nobody")).decode()
    with pytest.raises(InvalidSignature):
        check_by_hand(f"{head}.{other.rstrip('=')}.{signature}", keys)


def test_key_is_made_once_and_closed_to_others(tmp_path):
    home = tmp_path / "home"
    receipt = Receipts(home).sign(CLAIMS)

    assert Receipts(home).verify(receipt) == CLAIMS
    assert (home / "receipt-key.json").stat().st_mode & 0o777 == 0o600
    (home / "receipt-key.json").write_text("{}")
    with pytest.raises(SecretsError, match="key of receipts"):
        Receipts(home).sign(CLAIMS)


def test_other_signatures_and_what_is_no_receipt_are_refused(tmp_path, subtests):
    receipts = Receipts(tmp_path / "ours")
    key = ECKey.generate_key("P-256")
    receipt = receipts.sign(CLAIMS)
    head, payload, signature = receipt.split(".")
    unsigned = base64.urlsafe_b64encode(b'{"alg":"none"}').decode().rstrip("=")
    cases = {
        "of another installation": Receipts(tmp_path / "theirs").sign(CLAIMS),
        "by a key that is not published": jws.serialize_compact(
            {"alg": "ES256", "kid": key.thumbprint(), "typ": "erasure-receipt+jws"}, b"{}", key
        ),
        "without a signature": f"{unsigned}.{payload}.",
        "cut off": receipt[:-4],
        "something else": "hello",
        "nothing": "",
        "very long": "a" * 200_000,
        "of two": f"{head}.{payload}.{signature}.{signature}",
    }
    for name, text in cases.items():
        with subtests.test(name), pytest.raises(ReceiptInvalidError):
            receipts.verify(text)
