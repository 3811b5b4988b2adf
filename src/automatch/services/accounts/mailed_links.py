"""Links by mail: to confirm the address, sign in without a password, choose one, or change it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

from automatch.auth.passwords import check_password
from automatch.errors.auth import TokenInvalidError
from automatch.errors.request import InputInvalidError, LinkExpiredError
from automatch.language.catalogue import preferred_language
from automatch.mail.message import MailKind
from automatch.model.people import Claims, EmailChange, LinkUser, User
from automatch.services.accounts.accounts import Accounts, Session
from automatch.services.accounts.rate_limits import Limit, RateLimits
from automatch.services.validators import require_email
from automatch.store.accounts import accounts, mails
from automatch.store.database import Database

_MAX_TOKEN = 200
_NO_PASSWORD = "!"  # noqa: S105  no password has it as its hash


class MailedLinks:
    """Mails links, and lets in who comes by one. A link is of one kind and for one account.

    Args:
        sends_mail: whether a link is mailed, and does not wait for an operator to hand it over.
    """

    def __init__(
        self,
        db: Database,
        accounts: Accounts,
        rate_limits: RateLimits,
        link_life_s: int,
        *,
        sends_mail: bool,
    ) -> None:
        self._db = db
        self._accounts = accounts
        self._rate_limits = rate_limits
        self.sends_mail = sends_mail
        self._link_life_s = link_life_s

    async def request(self, kind: MailKind, email: str) -> None:
        """Have a link mailed to an address.

        Neither the answer nor the time that it takes tells whether somebody has an account with it:
        that is looked up when the mail is written.

        Raises:
            InputInvalidError: the e-mail address is invalid.
            RateLimitedError: it was asked for too often.
        """
        account = await self._charge(kind.value, email)
        async with self._db.transaction() as conn:
            await mails.set_language(conn, preferred_language())
            await mails.enqueue(conn, kind.value, account)

    async def sign_up(
        self, email: str, password: str | None, data: dict[str, Any] | None = None, *, address: str
    ) -> User:
        """Create an account that is used by a mailed link first, from a network address.

        Neither the answer nor its time tells whether somebody has an account with this address: it
        is mailed unless it is banned, and whom nobody has is made up. None as the *password* lets
        people choose it when they come by the link.

        Raises: see `Accounts.check_sign_up`, and
            RateLimitedError: it was asked for too often.
        """
        data = data or {}
        encrypted = _NO_PASSWORD
        if password is not None:
            email, encrypted = await self._accounts.check_sign_up(
                email, password, data, address=address
            )
        account = await self._charge(MailKind.SIGN_UP.value, email)
        async with self._db.transaction() as conn:
            await mails.set_language(conn, preferred_language())
            user_id = None
            if not await self._accounts.is_banned(conn, account):
                user_id = await accounts.sign_up(
                    conn, email=account, encrypted_password=encrypted, data=data
                )
                # With an id of nobody it takes as long.
                await self._accounts.inherit(conn, user_id or uuid4(), account)
        now = datetime.now(UTC)
        return User(
            id=user_id or uuid4(),
            email=account,
            app_metadata={"provider": "email", "providers": ["email"]},
            user_metadata=data,
            created_at=now,
            last_sign_in_at=None,
            confirmation_sent_at=now,
        )

    async def resend_email_change(self, email: str) -> None:
        """Mail the links again that confirm a change of the account with an address.

        Raises: see `request`.
        """
        account = await self._charge("change", email)
        async with self._db.transaction() as conn:
            await mails.set_language(conn, preferred_language())
            await accounts.resend_email_change(conn, account)

    async def request_email_change(
        self, claims: Claims, email: str, current_password: str | None, *, address: str
    ) -> None:
        """Ask the old and the new address by mail whether the account may change to the new one.

        The old one is not asked if nobody has shown that it is theirs: it may be mistyped. Whether
        somebody else has the new address is not told: then no mail goes there.

        Raises:
            TokenInvalidError: the session has ended.
            InputInvalidError: the e-mail address is invalid, or the account has it already.
            RateLimitedError: it was asked for too often, or too many passwords were wrong.
            ReauthenticationNeededError, CredentialsInvalidError, PasswordsBusyError: see
                `Accounts.check_fresh`.
        """
        user = await self._accounts.load_user(claims)
        account = require_email(email)
        if account == user.email:
            raise InputInvalidError("This is your e-mail address already.", case="same_email")
        await self._accounts.check_fresh(user, current_password, address)
        await self._rate_limits.charge(
            [(Limit.MAILED_LINKS_ACCOUNT, f"change {who}") for who in (user.id, account)]
        )
        assert claims.session_id is not None
        async with self._db.transaction() as conn:
            await mails.set_language(conn, preferred_language())
            if not await accounts.request_email_change(
                conn, claims.session_id, account, self._link_life_s
            ):
                raise TokenInvalidError

    async def check_email_change(self, token: str) -> EmailChange:
        """Return the change that a link confirms, without using it up.

        Raises:
            LinkExpiredError: it was used, is too old, or is no link of ours.
        """
        self._accounts.check_local_sign_in()
        async with self._db.transaction() as conn:
            change = await accounts.find_email_change(conn, accounts.hash_token(token))
        if change is None:
            raise LinkExpiredError
        return change

    async def confirm_email_change(self, token: str) -> bool:
        """Use the link of one address; return whether the other one had confirmed before.

        Raises:
            LinkExpiredError: it was used, is too old, or somebody else has the new address, which
                may be banned too.
        """
        return (await self._confirm_email_change(token, signs_in=False))[0]

    async def sign_in_by_email_change(self, token: str) -> Session | None:
        """Use the link of one address; start a session if the other one had confirmed before.

        Raises: see `confirm_email_change`.
        """
        return (await self._confirm_email_change(token, signs_in=True))[1]

    async def _confirm_email_change(
        self, token: str, *, signs_in: bool
    ) -> tuple[bool, Session | None]:
        change = await self.check_email_change(token)
        async with self._db.transaction() as conn:
            if await self._accounts.is_banned(conn, change.new_email):
                raise LinkExpiredError
            outcome = await accounts.confirm_email_change(conn, accounts.hash_token(token))
            session = None
            if outcome == "changed" and signs_in:
                session = await self._accounts.start_session(conn, change.user_id)
        if outcome is None:
            raise LinkExpiredError
        return outcome == "changed", session

    async def check(self, token: str, *kinds: MailKind) -> tuple[MailKind, LinkUser]:
        """Return of which of some kinds a link is, and for whom, without using it up.

        Raises:
            LinkExpiredError: it was used, is too old, or is no link of ours.
        """
        self._accounts.check_local_sign_in()
        if 0 < len(token) <= _MAX_TOKEN:
            token_sha256 = accounts.hash_token(token)
            async with self._db.transaction() as conn:
                for kind in kinds:
                    found = await accounts.find_one_time_token(conn, token_sha256, kind.value)
                    if found is not None:
                        return kind, found
        raise LinkExpiredError

    async def sign_in(self, token: str, *kinds: MailKind) -> Session:
        """Use a link up, which confirms the address, and start a session.

        A fresh session may set a new password. If nobody had confirmed the address, then a link
        that is not for that ends the password and the sessions of whoever made the account.

        Raises:
            LinkExpiredError: see `check`.
        """
        kind, _ = await self.check(token, *kinds)
        return await self._use(kind, token, None)

    async def choose_password(
        self, token: str, kind: MailKind, password: str, *, address: str
    ) -> Session:
        """Use a link up, set a password, end all sessions, and start one.

        Raises:
            LinkExpiredError: see `check`.
            PasswordWeakError: it is too short, too long or blank; the link goes on working.
            PasswordCommonError: it is easy to guess; the link goes on working.
            PasswordsBusyError: too many people sign in or up at the moment.
        """
        _, user = await self.check(token, kind)
        check_password(password, user.email)
        encrypted = await self._accounts.hash_password(password, address=address)
        return await self._use(kind, token, encrypted)

    async def _charge(self, what: str, email: str) -> str:
        self._accounts.check_local_sign_in()
        account = require_email(email)
        await self._rate_limits.charge([(Limit.MAILED_LINKS_ACCOUNT, f"{what} {account}")])
        return account

    async def _use(self, kind: MailKind, token: str, encrypted_password: str | None) -> Session:
        async with self._db.transaction() as conn:
            user_id = await accounts.use_one_time_token(
                conn, accounts.hash_token(token), kind.value, encrypted_password
            )
            if user_id is None:
                raise LinkExpiredError
            return await self._accounts.start_session(conn, user_id)
