"""Links by mail: to sign in without a password, choose a new one, and change the address."""

from __future__ import annotations

from collections.abc import Callable

from automatch.auth.passwords import check_password
from automatch.errors.auth import TokenInvalidError
from automatch.errors.request import InputInvalidError, LinkExpiredError
from automatch.mail.message import MailKind
from automatch.model.people import Claims, EmailChange
from automatch.services.accounts import Accounts, Session
from automatch.services.rate_limits import Limit, RateLimits
from automatch.services.validators import normalize_email
from automatch.store import accounts, mails
from automatch.store.database import Database

_MAX_TOKEN = 200


class MailedLinks:
    """Mails links, and lets in who comes by one. A link is of one kind and for one account.

    Args:
        wake_mailer: called when a mail waits; None where no mail is sent.
    """

    def __init__(
        self,
        db: Database,
        accounts: Accounts,
        rate_limits: RateLimits,
        wake_mailer: Callable[[], None] | None,
        link_life_s: int,
    ) -> None:
        self._db = db
        self._accounts = accounts
        self._rate_limits = rate_limits
        self._wake_mailer = wake_mailer
        self._link_life_s = link_life_s

    @property
    def sends_mail(self) -> bool:
        """Whether a link is mailed, and does not wait for an operator to hand it over."""
        return self._wake_mailer is not None

    async def request(self, kind: MailKind, email: str) -> None:
        """Have a link mailed to an address.

        Neither the answer nor the time that it takes tells whether somebody has an account with it:
        that is looked up when the mail is written.

        Raises:
            InputInvalidError: the e-mail address is invalid.
            RateLimitedError: it was asked for too often.
        """
        self._accounts.check_local_sign_in()
        account = normalize_email(email)
        if account is None:
            raise InputInvalidError("Give a valid e-mail address.")
        await self._rate_limits.charge([(Limit.MAILED_LINKS_ACCOUNT, f"{kind} {account}")])
        async with self._db.transaction() as conn:
            await mails.enqueue(conn, kind.value, account)
        if self._wake_mailer is not None:
            self._wake_mailer()

    async def request_email_change(
        self, claims: Claims, email: str, current_password: str | None, *, address: str
    ) -> None:
        """Ask the old and the new address by mail whether the account may change to the new one.

        Whether somebody else has the new address is not told: then no mail goes there.

        Raises:
            TokenInvalidError: the session has ended.
            InputInvalidError: the e-mail address is invalid, or the account has it already.
            RateLimitedError: it was asked for too often, or too many passwords were wrong.
            ReauthenticationNeededError, CredentialsInvalidError, PasswordsBusyError: see
                `Accounts.check_fresh`.
        """
        user = await self._accounts.load_user(claims)
        account = normalize_email(email)
        if account is None:
            raise InputInvalidError("Give a valid e-mail address.")
        if account == user.email:
            raise InputInvalidError("This is your e-mail address already.")
        await self._accounts.check_fresh(user, current_password, address)
        await self._rate_limits.charge(
            [(Limit.MAILED_LINKS_ACCOUNT, f"change {who}") for who in (user.id, account)]
        )
        assert claims.session_id is not None
        async with self._db.transaction() as conn:
            if not await accounts.request_email_change(
                conn, claims.session_id, account, self._link_life_s
            ):
                raise TokenInvalidError
        if self._wake_mailer is not None:
            self._wake_mailer()

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
            LinkExpiredError: it was used, is too old, or somebody else has the new address.
        """
        self._accounts.check_local_sign_in()
        async with self._db.transaction() as conn:
            outcome = await accounts.confirm_email_change(conn, accounts.hash_token(token))
        if outcome is None:
            raise LinkExpiredError
        return outcome == "changed"

    async def check(self, kind: MailKind, token: str) -> str:
        """Return the address of the account that a link is for, without using the link up.

        Raises:
            LinkExpiredError: it was used, is too old, or is no link of ours.
        """
        self._accounts.check_local_sign_in()
        found = None
        if 0 < len(token) <= _MAX_TOKEN:
            async with self._db.transaction() as conn:
                found = await accounts.find_one_time_token(
                    conn, accounts.hash_token(token), kind.value
                )
        if found is None:
            raise LinkExpiredError
        return found[1]

    async def sign_in(self, kind: MailKind, token: str) -> Session:
        """Use a link up and start a session; a fresh one may set a new password.

        Raises:
            LinkExpiredError: see `check`.
        """
        await self.check(kind, token)
        return await self._use(kind, token, None)

    async def reset_password(self, token: str, password: str, *, address: str) -> Session:
        """Use a link for a forgotten password up, set a password, end all sessions, and start one.

        Raises:
            LinkExpiredError: see `check`.
            PasswordWeakError: it is too short, too long or blank; the link goes on working.
            PasswordCommonError: it is easy to guess; the link goes on working.
            PasswordsBusyError: too many people sign in or up at the moment.
        """
        check_password(password, await self.check(MailKind.RECOVERY, token))
        encrypted = await self._accounts.hash_password(password, address=address)
        return await self._use(MailKind.RECOVERY, token, encrypted)

    async def _use(self, kind: MailKind, token: str, encrypted_password: str | None) -> Session:
        async with self._db.transaction() as conn:
            user_id = await accounts.use_one_time_token(
                conn, accounts.hash_token(token), kind.value, encrypted_password
            )
            if user_id is None:
                raise LinkExpiredError
            return await self._accounts.start_session(conn, user_id)
