"""What operators look at of people, and do for them; each act is checked and recorded by `acts`."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any
from uuid import UUID

from automatch.errors.request import InputInvalidError, NotFoundError, SignInElsewhereError
from automatch.model.operators import Operator
from automatch.model.people import FoundPerson, PersonDetails, PersonSession
from automatch.photos.store import PhotoStore
from automatch.services.operators.acts import Act, authorized
from automatch.services.operators.link_delivery import LinkDelivery
from automatch.services.protection.erasures import Erasures
from automatch.services.protection.export import open_export
from automatch.services.validators import normalize_email
from automatch.store.accounts import accounts
from automatch.store.database import Connection, Database
from automatch.store.people import people
from automatch.store.protection import erasures

if TYPE_CHECKING:
    from automatch.mail.message import MailText


async def find_id(db: Database, person: str) -> UUID:
    """Return the id of somebody who is named by an id or an e-mail address; nothing is shown.

    Raises:
        NotFoundError: nobody has this address.
    """
    try:
        return UUID(person)
    except ValueError:
        email = normalize_email(person)
    if email is None:
        raise InputInvalidError("Give the id or the e-mail address of a person.")
    async with db.transaction() as conn:
        person_id = await people.find_by_email(conn, email)
    if person_id is None:
        raise NotFoundError("Nobody has an account with this e-mail address.")
    return person_id


async def find_people(
    db: Database, operator: Operator, query: str, limit: int = 20
) -> list[FoundPerson]:
    """Return people by their id, or by a part of their address or name.

    Raises:
        ForbiddenError: see `authorized`.
    """
    details: dict[str, Any] = {}
    async with authorized(db, operator, Act.FIND_PEOPLE, details=details) as conn:
        found = await people.find(conn, query, limit)
        # Not what was typed: that is a name or an address.
        details["people"] = [str(person.id) for person in found]
        return found


async def show_person(db: Database, operator: Operator, person_id: UUID) -> PersonDetails:
    """Return what an operator needs to help somebody.

    Raises:
        NotFoundError: there is no such person.
        ForbiddenError: see `authorized`.
    """
    async with authorized(db, operator, Act.SHOW_PERSON, person_id) as conn:
        return await people.load(conn, person_id)


async def list_sessions(
    db: Database, operator: Operator, person_id: UUID, links: LinkDelivery
) -> list[PersonSession]:
    """Return where somebody is signed in, at most 100 sessions.

    Raises:
        SignInElsewhereError: people sign in elsewhere.
        ForbiddenError: see `authorized`.
    """
    _check_ours(links)
    async with authorized(db, operator, Act.LIST_SESSIONS, person_id) as conn:
        return await people.list_sessions(conn, person_id)


async def end_sessions(
    db: Database,
    operator: Operator,
    person_id: UUID,
    links: LinkDelivery,
    reason: str | None = None,
) -> int:
    """Sign somebody out everywhere; return how many sessions ended.

    Raises:
        SignInElsewhereError: people sign in elsewhere.
        NotFoundError: there is no such person.
        ForbiddenError: see `authorized`.
    """
    _check_ours(links)
    async with authorized(db, operator, Act.END_SESSIONS, person_id, reason=reason) as conn:
        await people.load(conn, person_id)
        return await people.end_sessions(conn, person_id)


async def reset_password(
    db: Database,
    operator: Operator,
    person_id: UUID,
    links: LinkDelivery,
    reason: str | None = None,
) -> MailText | None:
    """Mail somebody a link for a new password; return the mail to hand over where none is sent.

    The old password works until a new one is chosen.

    Raises:
        SignInElsewhereError: people sign in elsewhere.
        NotFoundError: there is no such person.
        ForbiddenError: see `authorized`.
    """
    _check_ours(links)
    async with authorized(db, operator, Act.RESET_PASSWORD, person_id, reason=reason) as conn:
        return await _deliver(conn, links, person_id)


async def invite_person(
    db: Database, operator: Operator, person_id: UUID, links: LinkDelivery
) -> MailText | None:
    """Mail somebody who never used their account a link to it; return the mail as `reset_password`.

    Raises:
        SignInElsewhereError: people sign in elsewhere.
        NotFoundError: there is no such person.
        InputInvalidError: the person uses the account already.
        ForbiddenError: see `authorized`.
    """
    _check_ours(links)
    async with authorized(db, operator, Act.INVITE_PERSON, person_id) as conn:
        await people.load(conn, person_id)
        email = await accounts.find_invitable(conn, person_id)
        if email is None:
            raise InputInvalidError(
                "This person uses the account already; "
                "`automatch user reset` mails a link for a new password."
            )
        return await links.deliver_invitation(conn, email)


async def freeze_person(db: Database, operator: Operator, person_id: UUID, reason: str) -> None:
    """Let somebody find nobody and be found by nobody; nothing is erased.

    Raises:
        NotFoundError: there is no such person.
        ForbiddenError, InputInvalidError: see `authorized`.
    """
    async with authorized(db, operator, Act.FREEZE_PERSON, person_id, reason=reason) as conn:
        await people.freeze(conn, person_id, reason)


async def unfreeze_person(
    db: Database, operator: Operator, person_id: UUID, reason: str | None = None
) -> None:
    """Undo `freeze_person`.

    Raises:
        NotFoundError: this person is not frozen.
        ForbiddenError: see `authorized`.
    """
    async with authorized(db, operator, Act.UNFREEZE_PERSON, person_id, reason=reason) as conn:
        if not await people.unfreeze(conn, person_id):
            raise NotFoundError("This person is not frozen.")


async def export_person(
    db: Database, operator: Operator, person_id: UUID, photos: PhotoStore, reason: str
) -> AsyncIterator[bytes]:
    """Return the ZIP of everything about somebody, in parts, to hand over to them.

    Raises:
        NotFoundError: there is no such person.
        ForbiddenError, InputInvalidError: see `authorized`.
    """
    async with authorized(db, operator, Act.EXPORT_PERSON, person_id, reason=reason) as conn:
        await people.load(conn, person_id)
    return await open_export(db, photos, person_id)


async def erase_person(
    db: Database, operator: Operator, person_id: UUID, reason: str, erasing: Erasures
) -> str | None:
    """Erase somebody with everything that belongs to them; return the receipt, if there is one.

    Raises:
        NotFoundError: there is no such person.
        LastOwnerError: it is the only owner.
        ForbiddenError, ReauthenticationNeededError: see `authorized`.
    """
    async with authorized(db, operator, Act.ERASE_PERSON, person_id, reason=reason) as conn:
        erased = await erasures.erase_person(conn, person_id, "operator")
    return await erasing.finish(erased)


def _check_ours(links: LinkDelivery) -> None:
    if not links.are_ours:
        raise SignInElsewhereError


async def _deliver(conn: Connection, links: LinkDelivery, person_id: UUID) -> MailText | None:
    person = await people.load(conn, person_id)
    if person.email is None:
        raise NotFoundError("This person has no e-mail address.")
    return await links.deliver_password_link(conn, person.email)
