"""What people report, with and without an account, and what both sides of a case read and write."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from automatch.auth.addresses import AddressKey
from automatch.errors.request import InputInvalidError, LinkExpiredError, NotFoundError
from automatch.language.catalogue import preferred_language
from automatch.mail.message import MailKind
from automatch.model.cases import LinkedCase, OwnCase, OwnMessage, ReportReason, ShownPerson
from automatch.model.people import Claims
from automatch.services.accounts.rate_limits import Limit, RateLimits
from automatch.services.validators import require_email
from automatch.store.accounts import mails
from automatch.store.accounts.accounts import hash_token
from automatch.store.database import Database
from automatch.store.protection import cases

MAX_STATEMENT = 1000

_ID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class OwnCases:
    """What a person reported, and what was done about them, with all that they may read of it."""

    cases: Sequence[OwnCase]
    messages: Sequence[OwnMessage]


@dataclass(frozen=True, slots=True)
class LinkedCaseFile:
    """What whoever holds a mailed link may read of the case."""

    case: LinkedCase
    messages: Sequence[OwnMessage]


class Reports:
    """Takes reports and take-down requests.

    Args:
        sends_mail: whether a link is mailed, and does not wait for an operator to hand it over.
    """

    def __init__(
        self,
        db: Database,
        rate_limits: RateLimits,
        addresses: AddressKey,
        *,
        sends_mail: bool,
    ) -> None:
        self._db = db
        self._rate_limits = rate_limits
        self._addresses = addresses
        self.sends_mail = sends_mail

    async def load_shown_person(self, claims: Claims, profile_id: UUID) -> ShownPerson:
        """Return somebody whom a person may report.

        Raises:
            NotFoundError: they were not shown to the person.
        """
        async with self._db.as_user(claims) as conn:
            shown = await cases.find_shown_person(conn, profile_id)
        if shown is None:
            raise NotFoundError
        return shown

    async def report(
        self,
        claims: Claims,
        profile_id: UUID,
        reason: ReportReason,
        statement: str,
        face_id: UUID | None = None,
    ) -> UUID:
        """Report somebody of one's feed, and block them; return the id of the case.

        Raises:
            NotFoundError: the person was not shown them, or this photo.
            InputInvalidError: the reason is `other`, and nothing says what it is.
        """
        text = _check_statement(statement, required=reason is ReportReason.OTHER)
        async with self._db.as_user(claims) as conn:
            return await cases.report_profile(conn, profile_id, reason, text, face_id)

    async def withdraw(self, claims: Claims, case_id: UUID) -> None:
        """Take back a report of the last minute; the two see each other again.

        Raises:
            NotFoundError: see `cases.withdraw_report`.
        """
        async with self._db.as_user(claims) as conn:
            await cases.withdraw_report(conn, case_id)

    async def load_own(self, claims: Claims) -> OwnCases:
        """Return the cases of a person, newest first."""
        async with self._db.as_user(claims) as conn:
            return OwnCases(await cases.list_own_cases(conn), await cases.list_own_messages(conn))

    async def write(self, claims: Claims, case_id: UUID, text: str) -> None:
        """Answer, or appeal once after a decision.

        Raises:
            NotFoundError: it is no case of theirs.
            InputInvalidError: nothing is written, or no more can be.
        """
        async with self._db.as_user(claims) as conn:
            await cases.write(conn, case_id, _check_statement(text, required=True))

    async def request_take_down(
        self, photo: str, email: str, reason: ReportReason, statement: str
    ) -> None:
        """Keep a request of somebody without an account, and mail them a link to confirm it.

        The answer is the same whether anybody or anything is found.

        Raises:
            InputInvalidError: the e-mail address is invalid, or nothing is said.
            RateLimitedError: there were too many with this address.
        """
        account = require_email(email)
        text = _check_statement("\n".join(filter(None, (photo.strip(), statement.strip()))), True)
        hashed = self._addresses.hash(account)
        await self._rate_limits.charge([(Limit.TAKE_DOWNS_ACCOUNT, hashed.hex())])
        subject = _ID.search(photo)
        async with self._db.transaction() as conn:
            case_id = await cases.request_take_down(
                conn,
                subject_id=UUID(subject[0]) if subject else None,
                reason=reason,
                statement=text,
                address=self._addresses.encrypt(account),
                address_hash=hashed,
            )
            await mails.set_language(conn, preferred_language())
            await mails.enqueue(conn, MailKind.TAKE_DOWN.value, account, case_id=case_id)

    async def open_link(self, token: str) -> LinkedCaseFile:
        """Return the case of a mailed link; scanners of mail open it too, so nothing is done.

        Raises:
            LinkExpiredError: it is too old, or no link of ours.
        """
        async with self._db.transaction() as conn:
            found = await cases.find_by_token(conn, hash_token(token))
            if found is None:
                raise LinkExpiredError
            messages = await cases.list_messages_by_token(conn, hash_token(token))
        return LinkedCaseFile(found, messages)

    async def confirm(self, token: str) -> None:
        """Open the case of a request; the photo may be hidden from now on.

        Raises:
            LinkExpiredError: see `open_link`.
        """
        await self.open_link(token)
        async with self._db.transaction() as conn:
            await cases.prove_take_down(conn, hash_token(token))

    async def write_by_link(self, token: str, text: str) -> None:
        """Answer, or appeal once after a decision.

        Raises:
            LinkExpiredError: see `open_link`.
            InputInvalidError: nothing is written, or no more can be.
        """
        body = _check_statement(text, required=True)
        async with self._db.transaction() as conn:
            if not await cases.write_by_token(conn, hash_token(token), body):
                raise LinkExpiredError


def _check_statement(text: str, required: bool = False) -> str:
    text = text.replace("\r\n", "\n").strip()
    if required and not text:
        raise InputInvalidError("Tell us in a sentence what it is about.", case="statement_missing")
    if len(text) > MAX_STATEMENT:
        raise InputInvalidError(
            f"Write at most {MAX_STATEMENT} characters.", case="statement_long", most=MAX_STATEMENT
        )
    return text
