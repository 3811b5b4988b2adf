"""Tokens of an issuer that is not us, forged or turned around."""

from __future__ import annotations

import json
import time
from uuid import uuid4

import pytest
from joserfc.jwk import ECKey

from automatch.auth.issuer import Issuer, SecretKeys
from automatch.auth.jwks import JwksCache
from automatch.auth.tokens import Tokens
from automatch.errors.auth import AuthError, TokenExpiredError, TokenInvalidError
from automatch.model.people import SERVICE, Role, User
from automatch.settings.server import AuthSettings
from tests.attack.test_tokens import base64url, forge
from tests.support.issuer import IssuerServer, ec_key, rsa_key

pytestmark = pytest.mark.anyio

OWN_SECRET = "o" * 43
SHARED_SECRET = "s" * 43


@pytest.fixture
async def tokens(issuer: IssuerServer) -> Tokens:
    """Give what checks the tokens of an issuer with a key of each kind and a shared secret."""
    issuer.keys = [rsa_key("rsa"), ec_key("ec")]
    keys = JwksCache(issuer.keys_url)
    await keys.look_up("ec")
    return Tokens(
        OWN_SECRET,
        AuthSettings(),
        issuer=Issuer(issuer.issuer, keys=keys, shared_secret=SHARED_SECRET, leeway_s=30),
        secret_keys=SecretKeys(["sb_secret_0123456789abcdef"]),
    )


async def test_genuine_tokens_are_read(issuer: IssuerServer, tokens: Tokens) -> None:
    person, session = uuid4(), uuid4()
    claims = issuer.claims(person, session)

    for token in (
        issuer.sign(claims, issuer.keys[0]),
        issuer.sign(claims, issuer.keys[1]),
        forge(SHARED_SECRET, claims),
    ):
        read = tokens.verify(token)
        assert (read.role, read.subject, read.session_id) == (Role.AUTHENTICATED, person, session)
    legacy = {"iss": "supabase", "ref": "abc", "iat": 1, "exp": int(time.time()) + 60}
    assert tokens.verify(forge(SHARED_SECRET, legacy | {"role": "service_role"})).role is (
        Role.SERVICE
    )
    assert tokens.verify(tokens.issue_key(Role.SERVICE)).role is Role.SERVICE
    assert tokens.verify("sb_secret_0123456789abcdef") is SERVICE


async def test_forged_tokens_are_refused(
    issuer: IssuerServer, tokens: Tokens, subtests: pytest.Subtests
) -> None:
    rsa, ec = issuer.keys
    good = issuer.claims()
    now = int(time.time())
    genuine = issuer.sign(good)
    head, body, _ = genuine.split(".")
    pem = {key.kid: key.as_pem(private=False).decode() for key in (rsa, ec)}
    impostor = ECKey.generate_key("P-256", {"kid": "ec", "alg": "ES256"})
    user = User(uuid4(), "a@example.org", {}, {}, None, None)  # type: ignore[arg-type]

    attacks = {
        "no signature": f"{head}.{body}.",
        "alg none": _with_header(f"{head}.{body}.", {"alg": "none", "kid": "ec"}),
        "HS256 with the RSA key as its secret": forge(pem["rsa"], good, kid="rsa"),
        "HS256 with the EC key as its secret": forge(pem["ec"], good, kid="ec"),
        "HS256 with the JWK as its secret": forge(str(ec.as_dict(private=False)), good, kid="ec"),
        "HS256 named RS256": forge(pem["rsa"], good, kid="rsa", alg="RS256"),
        "HS256 named ES256": forge(pem["ec"], good, kid="ec", alg="ES256"),
        "our own secret for their person": forge(OWN_SECRET, good),
        "their secret for our issuer": forge(SHARED_SECRET, good | {"iss": "automatch/auth/v1"}),
        "key of another with the right id": issuer.sign(good, impostor),
        "RSA key under the id of the other": _with_header(genuine, {"alg": "RS256", "kid": "ec"}),
        "EC key under the id of the other": _with_header(genuine, {"alg": "ES256", "kid": "rsa"}),
        "unknown id": issuer.sign(good, ec_key("unknown")),
        "no id": _with_header(genuine, {"alg": "ES256"}),
        "id is a number": _with_header(genuine, {"alg": "ES256", "kid": 1}),
        "key in the header": _with_header(
            issuer.sign(good, impostor),
            {"alg": "ES256", "kid": "ec", "jwk": impostor.as_dict(private=False)},
        ),
        "address of keys in the header": _with_header(
            genuine, {"alg": "ES256", "kid": "ec", "jku": "http://127.0.0.1/"}
        ),
        "signature of zeros": f"{head}.{body}.{base64url(bytes(64))}",
        "another issuer": issuer.sign(good | {"iss": "https://other.supabase.co/auth/v1"}),
        "issuer that begins like it": issuer.sign(good | {"iss": issuer.issuer + "/x"}),
        "issuer of the legacy keys": issuer.sign(good | {"iss": "supabase"}),
        "person by the issuer of keys": forge(SHARED_SECRET, good | {"iss": "supabase"}),
        "no issuer": issuer.sign(_without(good, "iss")),
        "audience of another": issuer.sign(good | {"aud": "other"}),
        "audiences of others": issuer.sign(good | {"aud": ["other", "another"]}),
        "no audience": issuer.sign(_without(good, "aud")),
        "no person": issuer.sign(_without(good, "sub")),
        "no session": issuer.sign(_without(good, "session_id")),
        "no role": issuer.sign(_without(good, "role")),
        "role of a login": issuer.sign(good | {"role": "postgres"}),
        "issued tomorrow": issuer.sign(good | {"iat": now + 86400}),
        "no exp": issuer.sign(_without(good, "exp")),
        "person who signed in before the issuer came": tokens.issue(user, uuid4()),
        "secret key of another project": "sb_secret_0123456789abcdeX",
        "beginning of a secret key": "sb_secret_0123456789abcde",
        "prefix alone": "sb_secret_",
        "publishable key": "sb_publishable_0123456789abcdef",
    }
    for name, token in attacks.items():
        with subtests.test(name), pytest.raises(TokenInvalidError):
            tokens.verify(token)
    assert tokens.verify(genuine)


async def test_old_token_is_told_from_a_forged_one(issuer: IssuerServer, tokens: Tokens) -> None:
    with pytest.raises(TokenExpiredError):
        tokens.verify(issuer.sign(issuer.claims() | {"exp": int(time.time()) - 60}))


async def test_shared_secret_that_is_not_set_lets_nobody_in(issuer: IssuerServer) -> None:
    tokens = Tokens(
        OWN_SECRET,
        AuthSettings(),
        issuer=Issuer(issuer.issuer, keys=None, shared_secret=None, leeway_s=30),
    )
    for token in (forge("", issuer.claims()), issuer.sign()):
        with pytest.raises(AuthError):
            tokens.verify(token)


def _without(claims: dict[str, object], name: str) -> dict[str, object]:
    return {key: value for key, value in claims.items() if key != name}


def _with_header(token: str, header: dict[str, object]) -> str:
    return ".".join([base64url(json.dumps(header).encode()), *token.split(".")[1:]])
