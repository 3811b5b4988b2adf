"""What operators do about reports: look, decide, answer both sides, ban.

Each act is checked and recorded by `acts`; a photo is read after that has been committed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from uuid import UUID

from automatch.errors.request import InputInvalidError, NotFoundError
from automatch.mail.message import MailKind
from automatch.model.cases import (
    Case,
    CaseAct,
    CaseDetails,
    CaseMessage,
    CaseRecord,
    CaseSide,
    CaseState,
    CaseViewer,
)
from automatch.model.operators import Operator
from automatch.services.operators.acts import About, Act, authorized, check_object, name_people
from automatch.services.validators import normalize_email, require_email
from automatch.store.accounts import mails
from automatch.store.photos import faces
from automatch.store.protection import cases

if TYPE_CHECKING:
    from automatch.auth.addresses import AddressKey
    from automatch.model.faces import HeldPhoto
    from automatch.photos.store import PhotoStore
    from automatch.services.protection.erasures import Erasures
    from automatch.store.database import Connection, Database

_ERASING = {CaseAct.ERASE_PHOTO, CaseAct.ERASE_PERSON}
_TOLD_TO_REPORTED = {
    CaseAct.HIDE,
    CaseAct.UNHIDE,
    CaseAct.FREEZE,
    CaseAct.UNFREEZE,
    CaseAct.ERASE_PHOTO,
}
"""Decisions that change something for whoever is reported; of the others they do not learn."""


@dataclass(frozen=True, slots=True)
class CaseFile:
    """All that operators know of a case."""

    details: CaseDetails
    messages: Sequence[CaseMessage]
    viewers: Sequence[CaseViewer]
    records: Sequence[CaseRecord]
    """Looks and acts before this one."""


async def list_cases(
    db: Database, operator: Operator, state: CaseState | None, limit: int
) -> list[Case]:
    """Return the inbox: cases of one state, or with None those that are not decided.

    Raises:
        ForbiddenError: see `authorized`.
    """
    details: dict[str, Any] = {}
    async with authorized(db, operator, Act.LIST_CASES, details=details) as conn:
        found = await cases.list_cases(conn, state, limit, operator.id)
        name_people(details, {case.profile_id for case in found if case.profile_id})
        return found


async def load_case(db: Database, operator: Operator, case_id: UUID) -> CaseFile:
    """Return a case with all that was written and done.

    Raises:
        NotFoundError: there is no such case.
        ForbiddenError: see `authorized`.
    """
    async with authorized(db, operator, Act.SHOW_CASE, case_id) as conn:
        return CaseFile(
            await cases.read_case(conn, case_id),
            await cases.list_messages(conn, case_id),
            await cases.list_viewers(conn, case_id),
            await cases.list_records(conn, case_id),
        )


async def load_case_photo(
    db: Database,
    operator: Operator,
    case_id: UUID,
    photos: PhotoStore,
    *,
    reason: str,
    face_id: UUID | None = None,
) -> bytes:
    """Return a photo of the person of a case as JPEG, after recording who looks and why.

    Raises:
        NotFoundError: there is no such case or photo, or no worker has processed it.
        ForbiddenError, InputInvalidError: see `authorized`.
    """
    async with authorized(db, operator, Act.SEE_PHOTO, case_id, reason=reason) as conn:
        path = await cases.open_photo(conn, case_id, face_id)
    return await _read_photo(photos, path)


async def load_held_photo(
    db: Database, operator: Operator, subject_id: UUID, photos: PhotoStore, *, reason: str
) -> bytes:
    """Return a photo that waits, or the first of an account to compare, as `load_case_photo` does.

    Raises:
        NotFoundError: there is no such photo, or no worker has processed it.
        ForbiddenError, InputInvalidError: see `authorized`.
    """
    async with authorized(db, operator, Act.SEE_HELD_PHOTO, subject_id, reason=reason) as conn:
        path = await faces.open_held_photo(conn, subject_id)
    return await _read_photo(photos, path)


async def list_held_photos(
    db: Database, operator: Operator, reason: str | None, limit: int
) -> list[HeldPhoto]:
    """Return the photos that wait for a decision, of one reason if asked for, oldest first.

    Raises:
        ForbiddenError: see `authorized`.
    """
    details: dict[str, Any] = {}
    async with authorized(db, operator, Act.LIST_HELD_PHOTOS, details=details) as conn:
        found = await faces.list_held_photos(conn, reason, limit)
        name_people(details, {photo.profile_id for photo in found})
        return found


async def decide_held_photo(
    db: Database, operator: Operator, face_id: UUID, *, release: bool
) -> None:
    """Let a photo be found and searched for, or refuse it, which deletes its embedding.

    Raises:
        NotFoundError: no such photo waits.
        ForbiddenError: see `authorized`.
    """
    act = Act.RELEASE_PHOTO if release else Act.REFUSE_PHOTO
    async with authorized(db, operator, act, face_id) as conn:
        await faces.decide_held_photo(conn, operator.actor, face_id, release=release)


async def _read_photo(photos: PhotoStore, path: str) -> bytes:
    jpeg = await photos.read_copy(path, "full")
    if jpeg is None:
        raise NotFoundError("There is no readable copy of this photo.")
    return jpeg


async def decide_case(
    db: Database,
    operator: Operator,
    case_id: UUID,
    addresses: AddressKey,
    act: CaseAct,
    *,
    erasing: Erasures,
    face_id: UUID | None = None,
    alone: bool = False,
) -> str | None:
    """Decide a case, do what was decided, and tell whom it concerns.

    Return the receipt of a person who was erased, if there is one.

    Raises:
        NotFoundError: there is no such case, photo or person.
        InputInvalidError: the operator decided before the appeal, and *alone* is false.
        ForbiddenError, ReauthenticationNeededError: see `authorized`.
    """
    async with authorized(
        db,
        operator,
        Act.ERASE_BY_CASE if act in _ERASING else Act.DECIDE_CASE,
        case_id,
        details={"decision": act.value, **({"alone": True} if alone else {})},
    ) as conn:
        erased = await cases.decide(
            conn, operator.actor, case_id, act, face_id=face_id, alone=alone
        )
        if act in _TOLD_TO_REPORTED:
            await _send_news(conn, addresses, case_id, CaseSide.REPORTED)
        await _send_news(conn, addresses, case_id, CaseSide.REPORTER)
    return await erasing.finish(erased) if erased is not None else None


async def point_case(
    db: Database,
    operator: Operator,
    case_id: UUID,
    subject_id: UUID,
    reason: str | None = None,
) -> None:
    """Say which photo or person a case is about, by its id.

    Only with a *reason* is a case about somebody else than before.

    Raises:
        NotFoundError: there is no such case, photo or person.
        InputInvalidError: the case is about somebody already, and there is no reason.
        ForbiddenError: see `authorized`.
    """
    act = Act.REPOINT_CASE if reason else Act.POINT_CASE
    details: dict[str, Any] = {"about": str(subject_id)}
    async with authorized(db, operator, act, case_id, reason=reason, details=details) as conn:
        person_id = await cases.point(conn, case_id, subject_id, again=reason is not None)
        await check_object(conn, operator, act, About.PERSON, person_id)
        former = details.pop("person", None)
        name_people(details, {UUID(former), person_id} if former else {person_id})


async def write_in_case(
    db: Database,
    operator: Operator,
    case_id: UUID,
    addresses: AddressKey,
    *,
    audience: CaseSide,
    text: str,
) -> None:
    """Write to one side, who get a mail that there is something to read, or a note to operators.

    Raises:
        NotFoundError: there is no such case, or nobody on that side any more.
        InputInvalidError: nothing is written.
        ForbiddenError: see `authorized`.
    """
    if not text.strip():
        raise InputInvalidError("Write a sentence.")
    async with authorized(
        db,
        operator,
        Act.WRITE_IN_CASE,
        case_id,
        details={"to": audience.value},
    ) as conn:
        await cases.answer(conn, operator.actor, case_id, audience, text)
        if audience is not CaseSide.OPERATORS and not await _send_news(
            conn, addresses, case_id, audience
        ):
            raise NotFoundError(f"There is no {audience} any more who could read it.")


async def ban(db: Database, operator: Operator, case_id: UUID, addresses: AddressKey) -> None:
    """Freeze the person of a case, and refuse their address, also after they are erased.

    Raises:
        NotFoundError: there is no such case, or its person has no account with an address.
        ForbiddenError: see `authorized`.
    """
    async with authorized(db, operator, Act.BAN, case_id) as conn:
        found = await cases.find_recipient(conn, case_id, CaseSide.REPORTED)
        account = normalize_email(found.email) if found is not None and found.email else None
        if account is None:
            raise NotFoundError("The case is about nobody who has an account with an address.")
        await cases.ban(conn, operator.actor, case_id, addresses.hash(account))
        await _send_news(conn, addresses, case_id, CaseSide.REPORTED)
        await _send_news(conn, addresses, case_id, CaseSide.REPORTER)


async def find_ban(db: Database, addresses: AddressKey, email: str) -> UUID:
    """Return the case in which an address was banned.

    Raises:
        NotFoundError: it is not banned.
        InputInvalidError: the e-mail address is invalid.
    """
    account = require_email(email)
    async with db.transaction() as conn:
        found = await cases.find_ban(conn, addresses.hash(account))
    if found is None:
        raise NotFoundError("This address is not banned.")
    return found


async def lift_ban(db: Database, operator: Operator, case_id: UUID) -> bool:
    """Lift the ban of a case; return whether the person is frozen, until that is undone.

    Raises:
        NotFoundError: there is none.
        ForbiddenError: see `authorized`.
    """
    async with authorized(db, operator, Act.LIFT_BAN, case_id) as conn:
        if not await cases.lift_ban(conn, case_id):
            raise NotFoundError("There is no such ban.")
        return (await cases.read_case(conn, case_id)).frozen


async def _send_news(
    conn: Connection, addresses: AddressKey, case_id: UUID, side: CaseSide
) -> bool:
    """Have a mail sent that says that there is something to read, and nothing of it."""
    found = await cases.find_recipient(conn, case_id, side)
    if found is None:
        return False
    if found.email is not None:
        await mails.enqueue(
            conn, MailKind.CASE_NEWS.value, found.email, profile_id=found.profile_id
        )
    elif found.address is not None and (address := addresses.decrypt(found.address)):
        await mails.enqueue(conn, MailKind.CASE_NEWS.value, address, case_id=case_id)
    return True
