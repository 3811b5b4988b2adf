"""Access tokens: what is issued is what is read back, and nothing else is."""

from __future__ import annotations

import base64
import hmac
import time
from datetime import UTC, datetime
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.datastructures import Headers

from automatch.auth.tokens import Tokens, bearer_token
from automatch.errors.auth import TokenExpiredError, TokenInvalidError, TokenMissingError
from automatch.model.people import Role, User
from automatch.settings.server import AuthSettings

TOKENS = Tokens("k" * 43, AuthSettings())
USER = User(
    id=uuid4(),
    email="linh@example.org",
    app_metadata={"provider": "email"},
    user_metadata={},
    created_at=datetime.now(UTC),
    last_sign_in_at=None,
)


def test_person_is_read_back() -> None:
    session_id = uuid4()

    claims = TOKENS.verify(TOKENS.issue(USER, session_id))

    assert claims.role is Role.AUTHENTICATED
    assert (claims.subject, claims.session_id) == (USER.id, session_id)
    assert claims.email == USER.email


def test_token_that_was_verified_before_is_refused_once_it_has_expired(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    settings = AuthSettings()
    token = TOKENS.issue(USER, uuid4())
    claims = TOKENS.verify(token)
    again = TOKENS.verify(token)
    later = time.time() + settings.access_token_s + settings.leeway_s + 2
    monkeypatch.setattr(time, "time", lambda: later)

    assert again is claims
    with pytest.raises(TokenExpiredError):
        TOKENS.verify(token)


def test_only_so_many_tokens_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("automatch.auth.tokens._MAX_REMEMBERED", 2)
    tokens = Tokens("k" * 43, AuthSettings())
    issued = [tokens.issue(USER, uuid4()) for _ in range(3)]
    oldest, _, newest = [tokens.verify(token) for token in issued]

    assert tokens.verify(issued[2]) is newest
    assert tokens.verify(issued[0]) is not oldest


@pytest.mark.parametrize("role", [Role.ANON, Role.SERVICE])
def test_key_of_the_project_is_read_back_as_nobody(role: Role) -> None:
    claims = TOKENS.verify(TOKENS.issue_key(role))

    assert (claims.role, claims.subject, claims.session_id) == (role, None, None)


def test_key_of_a_role_that_is_a_persons_is_no_token_of_one() -> None:
    with pytest.raises(TokenInvalidError):
        TOKENS.verify(TOKENS.issue_key(Role.AUTHENTICATED))


def test_token_of_a_rotated_secret_is_good_for_the_overlap(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    token = TOKENS.issue(USER, uuid4())
    now = int(time.time())
    rotated = Tokens("n" * 43, AuthSettings(), old_secret=("k" * 43, now + 60))

    assert rotated.verify(token)
    monkeypatch.setattr(time, "time", lambda: now + 61)
    with pytest.raises(TokenInvalidError):
        rotated.verify(token)
    with pytest.raises(TokenInvalidError):
        Tokens("n" * 43, AuthSettings(), old_secret=("k" * 43, now - 60)).verify(token)


@given(st.text(max_size=300))
def test_any_text_is_refused_and_nothing_else_happens(text: str) -> None:
    with pytest.raises(TokenInvalidError):
        TOKENS.verify(text)


@given(st.lists(st.binary(max_size=60), min_size=3, max_size=3), st.integers(0, 2))
def test_any_parts_of_a_token_are_refused(parts: list[bytes], kept: int) -> None:
    whole = TOKENS.issue(USER, uuid4()).split(".")
    changed = [part.hex() for part in parts]
    changed[kept] = whole[kept]

    with pytest.raises(TokenInvalidError):
        TOKENS.verify(".".join(changed))


@pytest.mark.parametrize("value", ["Bearer a.b.c", "bearer a.b.c", "BEARER  a.b.c "])
def test_bearer_token_is_read(value: str) -> None:
    assert bearer_token(Headers({"authorization": value})) == "a.b.c"


@pytest.mark.parametrize("sent", [[], [""], ["Bearer"], ["Bearer "], ["a.b.c"]])
def test_request_without_token_is_told_so(sent: list[str]) -> None:
    with pytest.raises(TokenMissingError):
        bearer_token(Headers(raw=[(b"authorization", value.encode()) for value in sent]))


@pytest.mark.parametrize("sent", [["Basic a"], ["Bearer a", "Bearer a"], ["", "Bearer a"]])
def test_request_with_something_else_is_refused(sent: list[str]) -> None:
    with pytest.raises(TokenInvalidError):
        bearer_token(Headers(raw=[(b"authorization", value.encode()) for value in sent]))


@pytest.mark.parametrize("depth", [100, 900, 1500, 2900])
@pytest.mark.parametrize("part", ["header", "payload"])
def test_token_of_any_depth_is_refused(part: str, depth: int) -> None:
    deep = b"[" * depth + b"]" * depth
    header = b'{"alg": "HS256", "x": %b}' % (deep if part == "header" else b"1")
    payload = b'{"iss": %b}' % (deep if part == "payload" else b"1")
    signed = b".".join(base64.urlsafe_b64encode(each).rstrip(b"=") for each in (header, payload))
    mark = hmac.digest(b"k" * 43, signed, "sha256")
    token = b".".join([signed, base64.urlsafe_b64encode(mark).rstrip(b"=")]).decode()
    for tokens in (TOKENS, Tokens("0" * 64, AuthSettings())):
        with pytest.raises(TokenInvalidError):
            tokens.verify(token)
