"""The operator's list of schools: names, proofs, and who belongs to them."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Sequence
from datetime import timedelta
from uuid import UUID

from automatch.errors.request import InputInvalidError
from automatch.model.people import Gender
from automatch.services.validators import normalize_email
from automatch.store import schools
from automatch.store.database import Connection

_CODE_LETTERS = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
"""Without those that are read as others (Crockford's base 32)."""
_CODE_LENGTH = 12
"""60 bits."""
_MAX_NAME = 120


async def add_school(
    conn: Connection,
    actor: str,
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
    """
    _check_names(name, *aliases)
    await schools.add_school(
        conn,
        actor,
        name,
        domains=[normalize_domain(domain) for domain in domains],
        aliases=aliases,
        is_open=is_open,
    )


async def change_school(
    conn: Connection,
    actor: str,
    school: str,
    *,
    domains: Sequence[str],
    aliases: Sequence[str],
    dropped_domains: Sequence[str],
    dropped_aliases: Sequence[str],
) -> None:
    """Add and drop domains and aliases; memberships that rest on a domain begin or end.

    Raises:
        InputInvalidError: a domain or an alias is none.
        SchoolUnknownError: there is no such school.
        SchoolExistsError: an alias is a spelling of another one.
    """
    _check_names(*aliases)
    await schools.change_school(
        conn,
        actor,
        school,
        domains=[normalize_domain(domain) for domain in domains],
        aliases=aliases,
        dropped_domains=[normalize_domain(domain) for domain in dropped_domains],
        dropped_aliases=dropped_aliases,
    )
    if domains or dropped_domains:
        await _refresh_people(conn, school)


async def set_open(conn: Connection, actor: str, school: str, *, is_open: bool) -> None:
    """Set whether everybody who names a school belongs to it, and let its people in or out.

    Of a large school they follow in steps; one that was interrupted goes on when started again.

    Raises:
        SchoolUnknownError: there is no such school.
    """
    await schools.set_open(conn, actor, school, is_open=is_open)
    await _refresh_people(conn, school)


async def _refresh_people(conn: Connection, school: str) -> None:
    last: UUID | None = None
    while last := await schools.refresh_proofs(conn, school, last):
        pass


async def rename_school(conn: Connection, actor: str, school: str, name: str) -> int:
    """Rename a school wherever its name is written; return how many people name it.

    Raises:
        InputInvalidError: the new name is none.
        SchoolUnknownError: there is no such school.
        SchoolExistsError: the new name is a spelling of another one.
    """
    _check_names(name)
    people = await schools.rename_school(conn, actor, school, name)
    while await schools.rename_finished_jobs(conn):
        pass
    return people


async def merge_schools(conn: Connection, actor: str, school: str, into: str) -> AsyncIterator[int]:
    """Move the people of a school to another, yielding how many moved; then it is gone.

    A merge that was interrupted goes on when it is started again.

    Raises:
        SchoolUnknownError: there is no such school.
    """
    while moved := await schools.merge_schools(conn, actor, school, into):
        yield moved
    while await schools.rename_finished_jobs(conn):
        pass


async def invite(
    conn: Connection, actor: str, school: str, *, max_uses: int | None, life: timedelta
) -> str:
    """Return a new code with which people become members; it cannot be shown again.

    Raises:
        SchoolUnknownError: there is no such school.
    """
    letters = "".join(secrets.choice(_CODE_LETTERS) for _ in range(_CODE_LENGTH))
    code = "-".join(letters[at : at + 4] for at in range(0, _CODE_LENGTH, 4))
    await schools.invite(conn, actor, school, code, max_uses=max_uses, life=life)
    return code


async def change_person(
    conn: Connection,
    actor: str,
    profile_id: UUID,
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
    await schools.change_person(
        conn, actor, profile_id, school=school, gender=gender.value if gender else None
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
