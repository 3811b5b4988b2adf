"""Accounts: sign-up, sign-in, refresh, sign-out and changes."""

from __future__ import annotations

import json
import secrets
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Literal
from uuid import UUID

from automatch.auth.addresses import AddressKey
from automatch.auth.passwords import MAX_CHARS, check_password
from automatch.auth.tokens import Tokens
from automatch.errors.auth import CredentialsInvalidError, TokenInvalidError
from automatch.errors.request import (
    EmailTakenError,
    InputInvalidError,
    PasswordsBusyError,
    ReauthenticationNeededError,
    SignInElsewhereError,
)
from automatch.model.people import Claims, User, UserSession
from automatch.services.accounts.password_queue import PasswordQueue
from automatch.services.accounts.rate_limits import Limit, RateLimits
from automatch.services.validators import normalize_email, require_email
from automatch.settings.server import AuthSettings
from automatch.store.accounts import accounts
from automatch.store.database import Connection, Database
from automatch.store.people.profiles import get_language
from automatch.store.protection import cases, erasures

_MAX_DATA = 1024
_MAX_DATA_DEPTH = 20
"""Bytes as JSON: it travels in every access token, and a browser drops cookies above 4 KB."""

_MAX_LOOKUPS = 4

SignOutScope = Literal["global", "local", "others"]


@dataclass(frozen=True)
class Session:
    """The tokens of somebody who signed in."""

    access_token: str
    refresh_token: str
    expires_in: int
    user: User
    language: str | None = None
    """What the person chose for pages."""


class Accounts:
    """Users and their sessions."""

    def __init__(
        self,
        db: Database,
        tokens: Tokens,
        settings: AuthSettings,
        rate_limits: RateLimits,
        addresses: AddressKey,
    ) -> None:
        self._db = db
        self._tokens = tokens
        self._settings = settings
        self._rate_limits = rate_limits
        self._addresses = addresses
        self._passwords = PasswordQueue(settings.max_waiting)
        self._lookups = 0

    def check_local_sign_in(self) -> None:
        """Return when people sign in here, and not with Supabase Auth or another issuer.

        Raises:
            SignInElsewhereError: they sign in elsewhere.
        """
        if self._tokens.issuer is not None:
            raise SignInElsewhereError

    async def sign_up(
        self, email: str, password: str, data: dict[str, Any] | None = None, *, address: str
    ) -> Session:
        """Create an account and sign in, from a network address.

        Raises:
            InputInvalidError: the e-mail address is invalid, or *data* is too large.
            PasswordWeakError: it is too short, too long or blank.
            PasswordCommonError: it is easy to guess.
            EmailTakenError: there is an account with this e-mail address, or it is banned.
            PasswordsBusyError: too many people sign in or up at the moment.
        """
        account, encrypted = await self.check_sign_up(email, password, data or {}, address=address)
        async with self._db.transaction() as conn:
            if await self.is_banned(conn, account):
                raise EmailTakenError
            user_id = await accounts.create_user(
                conn, email=account, encrypted_password=encrypted, data=data or {}
            )
            await self.inherit(conn, user_id, account)
            session = await self.start_session(conn, user_id)
        await self._rate_limits.remember_sign_in(account, address)
        return session

    async def check_sign_up(
        self, email: str, password: str, data: dict[str, Any], *, address: str
    ) -> tuple[str, str]:
        """Return the address and the password hash of somebody who may sign up.

        Raises: see `sign_up`, except that it does not know who has an account.
        """
        self.check_local_sign_in()
        account = require_email(email)
        _check_data(data)
        check_password(password, account)
        return account, await self.hash_password(password, address=address)

    async def is_banned(self, conn: Connection, account: str) -> bool:
        """Return whether a normalized address is banned; it is answered as one that is taken."""
        return await cases.find_ban(conn, self._addresses.hash(account)) is not None

    async def inherit(self, conn: Connection, user_id: UUID, account: str) -> None:
        """Count for a new user what an erased account with a normalized address had used up."""
        await erasures.inherit_departure(conn, user_id, self._addresses.hash(account))

    async def sign_in(self, email: str, password: str, *, address: str) -> Session:
        """Start a session, from a network address.

        Raises:
            CredentialsInvalidError: one of the two is wrong; the error does not say which.
            RateLimitedError: too many were wrong.
            PasswordsBusyError: too many people sign in or up at the moment.
        """
        self.check_local_sign_in()
        user_id = await self._find_user_id(normalize_email(email) or "", password, address)
        async with self._db.transaction() as conn:
            return await self.start_session(conn, user_id)

    async def _find_user_id(self, account: str, password: str, address: str) -> UUID:
        with self._passwords.place(await self._source(account, address)):
            async with self._rate_limits.sign_in(account, address):
                async with self._db.transaction() as conn:
                    found = await accounts.find_credentials(conn, account)
                user_id, encrypted = found or (None, None)
                right = len(password) <= MAX_CHARS and await self._passwords.verify(
                    password, encrypted
                )
                if user_id is None or not right:
                    raise CredentialsInvalidError
                return user_id

    async def _source(self, account: str, address: str) -> str | None:
        """Return None for somebody who signed in from this address lately, else the address."""
        if self._rate_limits.remembers(account, address):
            return None
        if self._passwords.has_place(address):
            return address
        # Another server may know: few look it up at a time, so that a flood costs no queries.
        if self._lookups >= _MAX_LOOKUPS:
            raise PasswordsBusyError
        self._lookups += 1
        try:
            return None if await self._rate_limits.knows(account, address) else address
        finally:
            self._lookups -= 1

    async def refresh(self, refresh_token: str, *, address: str) -> Session:
        """Exchange a refresh token for a new pair, from a network address.

        Raises:
            TokenInvalidError: it is unknown, used before, too old, or its session has ended.
            RateLimitedError: too many sessions were renewed from there.
        """
        self.check_local_sign_in()
        await self._rate_limits.charge([(Limit.REFRESH, address)])
        new_token = secrets.token_urlsafe(32)
        async with self._db.transaction() as conn:
            found = await accounts.rotate_refresh_token(
                conn,
                used_sha256=accounts.hash_token(refresh_token),
                new_sha256=accounts.hash_token(new_token),
                reuse_s=self._settings.refresh_reuse_s,
                unused_s=self._settings.refresh_token_s,
            )
            user = await accounts.load_session_user(conn, found[0]) if found else None
            language = await get_language(conn, user.id) if user else None
        # Raised outside the transaction: what it decided about a stolen token must be committed.
        if found is None or user is None:
            raise TokenInvalidError
        return self._session(user, found[0], new_token, language)

    async def sign_out(self, claims: Claims, scope: SignOutScope = "local") -> None:
        """End the session, all sessions, or all others; their refresh tokens die with them."""
        self.check_local_sign_in()
        if claims.session_id is not None:
            async with self._db.transaction() as conn:
                await accounts.end_sessions(conn, claims.session_id, scope)

    async def update(
        self,
        claims: Claims,
        *,
        password: str | None = None,
        current_password: str | None = None,
        data: dict[str, Any] | None = None,
        address: str,
    ) -> User:
        """Change the password, which ends all other sessions, or merge *data* into the metadata.

        Raises:
            TokenInvalidError: the session has ended, or the account is gone.
            InputInvalidError: *data* is too large.
            PasswordWeakError: it is too short, too long or blank.
            PasswordCommonError: it is easy to guess.
            ReauthenticationNeededError: the sign-in is not fresh, and *current_password* is None.
            CredentialsInvalidError: *current_password* is wrong.
            RateLimitedError: too many were wrong.
            PasswordsBusyError: too many people sign in or up at the moment.
        """
        self.check_local_sign_in()
        user = await self.load_user(claims)
        assert claims.session_id is not None
        if data is not None:
            data = user.user_metadata | data
            _check_data(data)
        encrypted = None
        if password is not None:
            check_password(password, user.email)
            await self.check_fresh(user, current_password, address)
            with self._passwords.place(None):
                encrypted = await self._passwords.hash(password)
        async with self._db.transaction() as conn:
            await accounts.update_user(
                conn, claims.session_id, encrypted_password=encrypted, data=data
            )
        return await self.load_user(claims)

    async def load_user(self, claims: Claims) -> User:
        """Return the account of a session.

        Raises:
            TokenInvalidError: the session has ended, or the account is gone.
        """
        self.check_local_sign_in()
        user = None
        if claims.session_id is not None:
            async with self._db.transaction() as conn:
                user = await accounts.load_session_user(conn, claims.session_id)
        if user is None:
            raise TokenInvalidError
        return user

    async def list_sessions(self, claims: Claims) -> list[UserSession]:
        """Return where the person is signed in, the session that asks first.

        Raises:
            TokenInvalidError: the session has ended.
        """
        self.check_local_sign_in()
        if claims.session_id is None:
            raise TokenInvalidError
        async with self._db.transaction() as conn:
            return await accounts.list_sessions(conn, claims.session_id)

    async def enter_password(self, claims: Claims, password: str, *, address: str) -> None:
        """Note that an operator entered the password again, for what cannot be undone.

        Raises:
            TokenInvalidError: the session has ended.
            CredentialsInvalidError: it is wrong.
            RateLimitedError: too many were wrong.
            PasswordsBusyError: too many people sign in or up at the moment.
        """
        user = await self.load_user(claims)
        await self._find_user_id(user.email, password, address)
        assert claims.session_id is not None
        async with self._db.transaction() as conn:
            await accounts.note_password(conn, claims.session_id)

    async def check_fresh(self, user: User, current_password: str | None, address: str) -> None:
        """Return when a session is of the last minutes, or its person knows the password.

        Raises:
            ReauthenticationNeededError: the sign-in is not fresh, and *current_password* is None.
            CredentialsInvalidError: *current_password* is wrong.
            RateLimitedError: too many were wrong.
            PasswordsBusyError: too many people sign in or up at the moment.
        """
        # Whoever finds a phone or steals a token has a session, but not the password.
        assert user.signed_in_at is not None
        fresh = timedelta(seconds=self._settings.fresh_sign_in_s)
        if current_password is None and datetime.now(UTC) - user.signed_in_at > fresh:
            raise ReauthenticationNeededError
        if current_password is not None:
            await self._find_user_id(user.email, current_password, address)

    async def hash_password(self, password: str, *, address: str) -> str:
        """Return the hash of a password that somebody chose, from a network address.

        Raises:
            PasswordsBusyError: too many people sign in or up at the moment.
        """
        with self._passwords.place(address):
            return await self._passwords.hash(password)

    async def start_session(self, conn: Connection, user_id: UUID) -> Session:
        """Start a session of somebody who has proved who they are."""
        refresh_token = secrets.token_urlsafe(32)
        session_id = await accounts.start_session(conn, user_id, accounts.hash_token(refresh_token))
        user = await accounts.load_session_user(conn, session_id)
        if user is None:
            raise CredentialsInvalidError
        language = await get_language(conn, user.id)
        return self._session(user, session_id, refresh_token, language)

    def _session(
        self, user: User, session_id: UUID, refresh_token: str, language: str | None
    ) -> Session:
        return Session(
            access_token=self._tokens.issue(user, session_id),
            refresh_token=refresh_token,
            expires_in=self._tokens.life_s,
            user=user,
            language=language,
        )


def _check_data(data: dict[str, Any]) -> None:
    if not _is_small(data):
        raise InputInvalidError(
            f"`data` may take {_MAX_DATA} bytes and be {_MAX_DATA_DEPTH} values deep, "
            "without NUL characters."
        )


def _is_small(data: dict[str, Any]) -> bool:
    try:
        text = json.dumps(data, allow_nan=False)
    except (ValueError, RecursionError):
        return False
    return len(text) <= _MAX_DATA and "\\u0000" not in text and not _is_deep(data)


def _is_deep(value: object, depth: int = _MAX_DATA_DEPTH) -> bool:
    # An answer that is deeper than pydantic writes would be an error at each sign-in.
    if isinstance(value, dict | list):
        inner = value.values() if isinstance(value, dict) else value
        return depth == 0 or any(_is_deep(each, depth - 1) for each in inner)
    return False
