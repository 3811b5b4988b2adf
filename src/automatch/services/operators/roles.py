"""Operators: who they are, and giving people a role."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from uuid import UUID

from automatch.errors.request import ForbiddenError, InputInvalidError, NotFoundError
from automatch.model.operators import AuditEntry, Operator, OperatorAccount, OperatorRole
from automatch.model.people import Claims
from automatch.services.operators.acts import Act, authorized, name_people
from automatch.services.operators.link_delivery import LinkDelivery
from automatch.services.validators import require_email
from automatch.store.accounts import accounts
from automatch.store.database import Database
from automatch.store.operators import audit_log, operators
from automatch.store.people import people

if TYPE_CHECKING:
    from automatch.mail.message import MailText


@dataclass(frozen=True, slots=True)
class NewOperator:
    """Somebody who was given a role."""

    id: UUID
    mail: MailText | None
    """With the link for a password, to hand over; None when it is mailed, or is not needed."""


@dataclass(frozen=True, slots=True)
class AuditLog:
    """A part of the audit log."""

    entries: Sequence[AuditEntry]
    names: Mapping[str, str]
    """Addresses of those who are operators now, by their names in the log."""


async def load_operator(db: Database, claims: Claims) -> Operator:
    """Return the operator who is signed in.

    Raises:
        ForbiddenError: this person is none, or somebody else acts as this person.
    """
    async with db.transaction() as conn:
        operator = await operators.find_operator(conn, claims)
    if operator is None:
        raise ForbiddenError("This is for operators of this installation.")
    return operator


async def is_operator(db: Database, claims: Claims) -> bool:
    """Tell whether the person who is signed in is an operator, whatever the role."""
    async with db.transaction() as conn:
        return await operators.find_operator(conn, claims) is not None


async def list_operators(db: Database, operator: Operator) -> list[OperatorAccount]:
    """Return all operators, owners first."""
    details: dict[str, Any] = {}
    async with authorized(db, operator, Act.LIST_OPERATORS, details=details) as conn:
        found = await operators.list_operators(conn)
        name_people(details, (each.id for each in found))
        return found


async def add_operator(
    db: Database, operator: Operator, email: str, role: OperatorRole, links: LinkDelivery
) -> NewOperator:
    """Give a role to the person with an address, whose account is made if there is none.

    Anybody may have signed up with the address: its mailbox has to choose a new password first.

    Raises:
        InputInvalidError: the address is invalid, or the person is an operator already.
        ForbiddenError, and others: see `authorized`.
    """
    account = require_email(email)
    details: dict[str, Any] = {"role": role.value}
    async with authorized(db, operator, Act.SET_ROLE, details=details) as conn:
        person_id = await people.find_by_email(conn, account)
        if person_id is None:
            person_id = await people.create_account(conn, account)
        if await operators.find_role(conn, person_id) is not None:
            raise InputInvalidError("This person is an operator already; change the role instead.")
        details["person"] = str(person_id)
        # The account before the profile, as whatever changes an account does.
        if links.are_ours:
            await people.end_password(conn, person_id)
        await operators.set_role(conn, person_id, role)
        if not links.are_ours:
            return NewOperator(person_id, None)
        is_new = await accounts.find_invitable(conn, person_id) is not None
        deliver = links.deliver_invitation if is_new else links.deliver_password_link
        return NewOperator(person_id, await deliver(conn, account))


async def change_role(
    db: Database, operator: Operator, person_id: UUID, role: OperatorRole | None
) -> None:
    """Give an operator another role, or take it away with None.

    Raises:
        LastOwnerError: nobody else is an owner.
        NotFoundError: this person is no operator.
        ForbiddenError, and others: see `authorized`.
    """
    details = {"role": role.value if role else "none"}
    async with authorized(db, operator, Act.SET_ROLE, person_id, details=details) as conn:
        if await operators.find_role(conn, person_id) is None:
            raise NotFoundError("This person is no operator.")
        await operators.set_role(conn, person_id, role)


async def read_audit_log(
    db: Database,
    operator: Operator,
    limit: int = 50,
    *,
    person_id: UUID | None = None,
    act: str | None = None,
    actor: str | None = None,
    before: int | None = None,
) -> AuditLog:
    """Return what operators did and looked at, newest first; of one kind, before one entry.

    Raises:
        ForbiddenError: see `authorized`.
    """
    async with authorized(db, operator, Act.READ_AUDIT_LOG, person_id) as conn:
        entries = await audit_log.list_entries(
            conn, limit, person_id=person_id, action=act, actor=actor, before=before
        )
        known = await operators.list_operators(conn)
    names = {f"operator:{each.id}": each.email or each.name or str(each.id) for each in known}
    return AuditLog(entries, names)
