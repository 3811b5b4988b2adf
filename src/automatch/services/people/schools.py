"""The operator's list of schools: names, proofs, and who belongs to them."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from datetime import timedelta
from typing import Any
from uuid import UUID

from automatch.errors.request import InputInvalidError
from automatch.model.operators import Operator
from automatch.model.people import Gender
from automatch.model.schools import Invitation, MembershipRequest, School
from automatch.services.operators.acts import Act, authorized, authorized_steps
from automatch.services.validators import normalize_email
from automatch.store.database import Connection, Database
from automatch.store.people import schools

_CODE_LETTERS = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
"""Without those that are read as others (Crockford's base 32)."""
_CODE_LENGTH = 12
"""60 bits."""
_MAX_NAME = 120


async def list_schools(db: Database, school: str | None = None) -> list[School]:
    """Return all schools as operators see them, or the one with a spelling.

    Raises:
        SchoolUnknownError: none has it.
    """
    async with db.connection() as conn:
        return await schools.list_schools(conn, school)


async def add_school(
    db: Database,
    operator: Operator,
    name: str,
    *,
    domains: Sequence[str],
    aliases: Sequence[str],
    is_open: bool,
) -> None:
    """Put a school on the list.

    Raises:
        InputInvalidError: a domain or a name is none.
        SchoolExistsError: the name or an alias is a spelling of another one.
        ForbiddenError: see `authorized`; so for all acts here.
    """
    _check_names(name, *aliases)
    domains = [normalize_domain(domain) for domain in domains]
    async with authorized(db, operator, Act.ADD_SCHOOL) as conn:
        await schools.add_school(
            conn, operator.actor, name, domains=domains, aliases=aliases, is_open=is_open
        )


async def change_school(
    db: Database,
    operator: Operator,
    school: str,
    *,
    domains: Sequence[str] = (),
    aliases: Sequence[str] = (),
    dropped_domains: Sequence[str] = (),
    dropped_aliases: Sequence[str] = (),
) -> None:
    """Add and drop domains and aliases; memberships that rest on a domain begin or end.

    Raises:
        InputInvalidError: a domain or an alias is none.
        SchoolUnknownError: there is no such school.
        SchoolExistsError: an alias is a spelling of another one.
    """
    _check_names(*aliases)
    domains = [normalize_domain(domain) for domain in domains]
    async with authorized_steps(db, operator, Act.CHANGE_SCHOOL) as conn:
        await schools.change_school(
            conn,
            operator.actor,
            school,
            domains=domains,
            aliases=aliases,
            dropped_domains=[normalize_domain(domain) for domain in dropped_domains],
            dropped_aliases=dropped_aliases,
        )
        if domains or dropped_domains:
            await _refresh_people(conn, school)


async def set_open(db: Database, operator: Operator, school: str, *, is_open: bool) -> None:
    """Set whether everybody who names a school belongs to it, and let its people in or out.

    Of a large school they follow in steps; one that was interrupted goes on when started again.

    Raises:
        SchoolUnknownError: there is no such school.
    """
    act = Act.OPEN_SCHOOL if is_open else Act.CLOSE_SCHOOL
    async with authorized_steps(db, operator, act) as conn:
        await schools.set_open(conn, operator.actor, school, is_open=is_open)
        await _refresh_people(conn, school)


async def _refresh_people(conn: Connection, school: str) -> None:
    last: UUID | None = None
    while last := await schools.refresh_proofs(conn, school, last):
        pass


async def rename_school(db: Database, operator: Operator, school: str, name: str) -> int:
    """Rename a school wherever its name is written; return how many people name it.

    Raises:
        InputInvalidError: the new name is none.
        SchoolUnknownError: there is no such school.
        SchoolExistsError: the new name is a spelling of another one.
    """
    _check_names(name)
    async with authorized_steps(db, operator, Act.RENAME_SCHOOL) as conn:
        people = await schools.rename_school(conn, operator.actor, school, name)
        while await schools.rename_finished_jobs(conn):
            pass
    return people


async def merge_schools(db: Database, operator: Operator, school: str, into: str) -> int:
    """Move the people of a school to another, which then is gone; return how many moved.

    A merge that was interrupted goes on when it is started again.

    Raises:
        SchoolUnknownError: there is no such school.
        ReauthenticationNeededError: see `authorized`.
    """
    count = 0
    async with authorized_steps(db, operator, Act.MERGE_SCHOOLS) as conn:
        while moved := await schools.merge_schools(conn, operator.actor, school, into):
            count += moved
        while await schools.rename_finished_jobs(conn):
            pass
    return count


async def remove_school(db: Database, operator: Operator, school: str) -> None:
    """Take a school off the list.

    Raises:
        SchoolUnknownError: there is no such school.
        SchoolInUseError: people name it.
    """
    async with authorized(db, operator, Act.REMOVE_SCHOOL) as conn:
        await schools.remove_school(conn, operator.actor, school)


async def invite(
    db: Database, operator: Operator, school: str, *, max_uses: int | None, life: timedelta
) -> str:
    """Return a new code with which people become members; it cannot be shown again.

    Raises:
        SchoolUnknownError: there is no such school.
    """
    letters = "".join(secrets.choice(_CODE_LETTERS) for _ in range(_CODE_LENGTH))
    code = "-".join(letters[at : at + 4] for at in range(0, _CODE_LENGTH, 4))
    async with authorized(db, operator, Act.INVITE_TO_SCHOOL) as conn:
        await schools.invite(conn, operator.actor, school, code, max_uses=max_uses, life=life)
    return code


async def list_invitations(db: Database, school: str | None = None) -> list[Invitation]:
    """Return the invitations that work, without their codes.

    Raises:
        SchoolUnknownError: there is no such school.
    """
    async with db.connection() as conn:
        return await schools.list_invitations(conn, school)


async def end_invitation(db: Database, operator: Operator, invitation_id: UUID) -> None:
    """End an invitation; its members stay.

    Raises:
        NotFoundError: there is none.
    """
    async with authorized(db, operator, Act.END_INVITATION) as conn:
        await schools.end_invitation(conn, operator.actor, invitation_id)


async def list_requests(
    db: Database, operator: Operator, school: str | None = None, limit: int = 50
) -> list[MembershipRequest]:
    """Return who asks to be let in, longest first.

    Raises:
        SchoolUnknownError: there is no such school.
    """
    details: dict[str, Any] = {}
    async with authorized(db, operator, Act.LIST_REQUESTS, details=details) as conn:
        found = await schools.list_requests(conn, school, limit)
        details["people"] = [str(each.profile_id) for each in found]
        return found


async def decide_request(
    db: Database, operator: Operator, person_id: UUID, *, reason: str | None
) -> None:
    """Make somebody who asked a member, or with a reason refuse; they get a mail.

    Raises:
        NotFoundError: this person does not wait.
        InputInvalidError: the reason is empty or too long.
    """
    act = Act.APPROVE_MEMBER if reason is None else Act.REFUSE_MEMBER
    async with authorized(db, operator, act, person_id) as conn:
        await schools.decide(conn, operator.actor, person_id, reason=reason)


async def change_person(
    db: Database,
    operator: Operator,
    person_id: UUID,
    *,
    school: str | None = None,
    gender: Gender | None = None,
) -> None:
    """Change the school, of which they become a member, or the gender of a person for them.

    It counts for nothing, and their photos are searched for at once.

    Raises:
        NotFoundError: there is no such person.
        SchoolUnknownError: there is no such school.
    """
    async with authorized(db, operator, Act.CHANGE_PERSON, person_id) as conn:
        await schools.change_person(
            conn,
            operator.actor,
            person_id,
            school=school,
            gender=gender.value if gender else None,
        )


def _check_names(*names: str) -> None:
    for name in names:
        if not name.strip() or len(name) > _MAX_NAME:
            raise InputInvalidError(f"Give the school a name of at most {_MAX_NAME} characters.")


def normalize_domain(domain: str) -> str:
    """Return a mail domain as it stands in the addresses that we keep.

    Raises:
        InputInvalidError: it is none.
    """
    address = normalize_email(f"somebody@{domain.strip().removeprefix('@')}")
    if address is None:
        raise InputInvalidError(f"{domain} is not a mail domain such as uit.edu.vn.")
    return address.partition("@")[2]
