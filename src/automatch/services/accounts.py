"""Signing up, in and out; used by the JSON routes and the pages alike."""

from __future__ import annotations

import hashlib
import json
import re
import secrets
from dataclasses import dataclass
from typing import Any, Literal
from uuid import UUID

from automatch.auth.passwords import hash_password, verify_password
from automatch.auth.tokens import Tokens
from automatch.errors.auth import CredentialsInvalidError, TokenInvalidError
from automatch.errors.request import (
    InputInvalidError,
    NotFoundError,
    PasswordWeakError,
    SignInElsewhereError,
)
from automatch.model.people import Claims, User
from automatch.settings.server import AuthSettings
from automatch.store import accounts
from automatch.store.database import Connection, Database

_EMAIL = re.compile(r"[^@\s]{1,64}@[^@\s.]+(\.[^@\s.]+)+")
_MIN_PASSWORD = 8
_MAX_PASSWORD = 200
"""Hashing costs time per byte."""
_MAX_DATA = 1024
"""Bytes as JSON: it travels in every access token, and a browser drops cookies above 4 KB."""

SignOutScope = Literal["global", "local", "others"]


@dataclass(frozen=True)
class Session:
    """Someone who is signed in."""

    access_token: str
    refresh_token: str
    expires_in: int
    user: User


class Accounts:
    """Users and their sessions."""

    def __init__(self, db: Database, tokens: Tokens, settings: AuthSettings) -> None:
        self._db = db
        self._tokens = tokens
        self._settings = settings

    def check_here(self) -> None:
        """Refuse where Supabase Auth, or another issuer of tokens, signs people in.

        Raises:
            SignInElsewhereError: it does.
        """
        if self._tokens.issuer is not None:
            raise SignInElsewhereError

    async def sign_up(
        self, email: str, password: str, data: dict[str, Any] | None = None
    ) -> Session:
        """Create an account and sign in.

        Raises:
            InputInvalidError: that is no e-mail address, or *data* is too much.
            PasswordWeakError: too short.
            EmailTakenError: there is such an account.
        """
        self.check_here()
        address = normal_address(email)
        if address is None:
            raise InputInvalidError("Give a valid e-mail address.")
        _check_data(data or {})
        _check_password(password)
        encrypted = await hash_password(password)
        async with self._db.transaction() as conn:
            user_id = await accounts.create_user(
                conn, email=address, encrypted_password=encrypted, data=data or {}
            )
            return await self._start(conn, user_id)

    async def sign_in(self, email: str, password: str) -> Session:
        """Start a session.

        Raises:
            CredentialsInvalidError: one of the two is wrong; it is not said which.
        """
        self.check_here()
        address = normal_address(email)
        found = None
        if address is not None:
            async with self._db.transaction() as conn:
                found = await accounts.find_credentials(conn, address)
        user_id, encrypted = found or (None, None)
        right = len(password) <= _MAX_PASSWORD and await verify_password(password, encrypted)
        if user_id is None or not right:
            raise CredentialsInvalidError
        async with self._db.transaction() as conn:
            return await self._start(conn, user_id)

    async def sign_in_without_password(self, email: str) -> Session:
        """Start a session for an operator who holds the secrets anyway.

        Raises:
            NotFoundError: nobody has this address.
        """
        self.check_here()
        async with self._db.transaction() as conn:
            found = await accounts.find_credentials(conn, normal_address(email) or "")
            if found is None:
                raise NotFoundError("Nobody has an account with this e-mail address.")
            return await self._start(conn, found[0])

    async def refresh(self, refresh_token: str) -> Session:
        """Exchange a refresh token for a new pair.

        Raises:
            TokenInvalidError: it is unknown, spent, too old, or its session has ended.
        """
        self.check_here()
        new_token = secrets.token_urlsafe(32)
        async with self._db.transaction() as conn:
            found = await accounts.rotate_refresh_token(
                conn,
                used_sha256=_hashed(refresh_token),
                new_sha256=_hashed(new_token),
                reuse_s=self._settings.refresh_reuse_s,
                unused_s=self._settings.refresh_token_s,
            )
            user = await accounts.load_session_user(conn, found[0]) if found else None
        # Raised out here: what the database decided about a stolen token must be committed.
        if found is None or user is None:
            raise TokenInvalidError
        return self._session(user, found[0], new_token)

    async def sign_out(self, claims: Claims, scope: SignOutScope = "local") -> None:
        """End the session, all sessions, or all others; their refresh tokens die with them."""
        self.check_here()
        if claims.session_id is not None:
            async with self._db.transaction() as conn:
                await accounts.end_sessions(conn, claims.session_id, scope)

    async def update(
        self, claims: Claims, *, password: str | None = None, data: dict[str, Any] | None = None
    ) -> User:
        """Change the password, which ends all other sessions, or some of the metadata.

        Raises:
            TokenInvalidError: the session has ended, or the account is gone.
            InputInvalidError: *data* is too much.
            PasswordWeakError: too short.
        """
        self.check_here()
        user = await self.load_user(claims)
        assert claims.session_id is not None
        if data is not None:
            data = user.user_metadata | data
            _check_data(data)
        encrypted = None
        if password is not None:
            _check_password(password)
            encrypted = await hash_password(password)
        async with self._db.transaction() as conn:
            await accounts.update_user(
                conn, claims.session_id, encrypted_password=encrypted, data=data
            )
        return await self.load_user(claims)

    async def load_user(self, claims: Claims) -> User:
        """Return who is signed in.

        Raises:
            TokenInvalidError: the session has ended, or the account is gone.
        """
        self.check_here()
        user = None
        if claims.session_id is not None:
            async with self._db.transaction() as conn:
                user = await accounts.load_session_user(conn, claims.session_id)
        if user is None:
            raise TokenInvalidError
        return user

    async def is_signed_in(self, claims: Claims) -> bool:
        """Tell whether the session of a valid token still lives.

        Of people who sign in elsewhere nothing is known here but that their token is valid.
        """
        if self._tokens.issuer is not None:
            return True
        try:
            await self.load_user(claims)
        except TokenInvalidError:
            return False
        return True

    async def delete(self, claims: Claims) -> None:
        """Erase the account with everything that is theirs.

        Raises:
            TokenInvalidError: the session has ended.
        """
        async with self._db.as_user(claims) as conn:
            await accounts.erase_account(conn)

    async def _start(self, conn: Connection, user_id: UUID) -> Session:
        refresh_token = secrets.token_urlsafe(32)
        session_id = await accounts.start_session(conn, user_id, _hashed(refresh_token))
        user = await accounts.load_session_user(conn, session_id)
        if user is None:
            raise CredentialsInvalidError
        return self._session(user, session_id, refresh_token)

    def _session(self, user: User, session_id: UUID, refresh_token: str) -> Session:
        return Session(
            access_token=self._tokens.issue(user, session_id),
            refresh_token=refresh_token,
            expires_in=self._tokens.life_s,
            user=user,
        )


def normal_address(email: str) -> str | None:
    """Return an e-mail address in the one spelling we keep, or None when it is none."""
    address = email.strip().lower()
    valid = len(address) <= 254 and _EMAIL.fullmatch(address) and address.isprintable()
    return address if valid else None


def _check_password(password: str) -> None:
    if not _MIN_PASSWORD <= len(password) <= _MAX_PASSWORD:
        raise PasswordWeakError


def _check_data(data: dict[str, Any]) -> None:
    if not _is_small(data):
        raise InputInvalidError(f"`data` may take {_MAX_DATA} bytes, without NUL characters.")


def _is_small(data: dict[str, Any]) -> bool:
    try:
        text = json.dumps(data, allow_nan=False)
    except (ValueError, RecursionError):
        return False
    return len(text) <= _MAX_DATA and "\\u0000" not in text


def _hashed(token: str) -> bytes:
    # Random tokens of 256 bits need no slow hash.
    return hashlib.sha256(token.encode()).digest()
