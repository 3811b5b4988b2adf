"""The list of schools, for operators, and what people prove to belong to one."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from uuid import UUID

from psycopg.rows import class_row

from automatch.model.schools import Invitation, Membership, MembershipRequest, School
from automatch.store.call import call, call_row, call_rows, call_value
from automatch.store.database import Connection


async def list_schools(conn: Connection, school: str | None = None) -> list[School]:
    """Return all schools, or the one with a spelling.

    Raises:
        SchoolUnknownError: none has it.
    """
    return await call_rows(conn, "get_schools", class_row(School), school=school)


async def add_school(
    conn: Connection,
    actor: str,
    name: str,
    *,
    domains: Sequence[str] = (),
    aliases: Sequence[str] = (),
    is_open: bool = False,
) -> None:
    """Put a school on the list.

    Raises:
        SchoolExistsError: the name or an alias is a spelling of another one.
    """
    await call(
        conn,
        "add_school",
        name=name,
        domains=list(domains),
        aliases=list(aliases),
        open=is_open,
        actor=actor,
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
    """Add and drop domains and aliases; memberships follow with `refresh_proofs`."""
    await call(
        conn,
        "change_school",
        school=school,
        domains=list(domains),
        aliases=list(aliases),
        dropped_domains=list(dropped_domains),
        dropped_aliases=list(dropped_aliases),
        actor=actor,
    )


async def refresh_proofs(conn: Connection, school: str, after: UUID | None) -> UUID | None:
    """Let some people in or out as they belong; return after whom to go on, None at the end."""
    last: UUID | None = await call_value(conn, "refresh_school_proofs", school=school, after=after)
    return last


async def set_open(conn: Connection, actor: str, school: str, *, is_open: bool) -> None:
    """Set whether everybody who names a school belongs to it; `refresh_proofs` follows."""
    await call(conn, "set_school_open", school=school, open=is_open, actor=actor)


async def rename_school(conn: Connection, actor: str, school: str, name: str) -> int:
    """Rename a school everywhere but in finished jobs; return how many people name it."""
    return int(await call_value(conn, "rename_school", school=school, name=name, actor=actor))


async def rename_finished_jobs(conn: Connection) -> int:
    """Rename the schools of some finished jobs; return of how many."""
    return int(await call_value(conn, "rename_finished_jobs"))


async def merge_schools(conn: Connection, actor: str, school: str, into: str) -> int:
    """Move some people; return how many, 0 once the first school is gone."""
    return int(await call_value(conn, "merge_schools", **{"from": school}, into=into, actor=actor))


async def remove_school(conn: Connection, actor: str, school: str) -> None:
    """Take a school off the list.

    Raises:
        SchoolInUseError: people name it.
    """
    await call(conn, "remove_school", school=school, actor=actor)


async def invite(
    conn: Connection, actor: str, school: str, code: str, *, max_uses: int | None, life: timedelta
) -> None:
    """Let whoever has *code* become a member; only a hash of it is kept."""
    await call(
        conn,
        "invite_to_school",
        school=school,
        code=code,
        max_uses=max_uses,
        life=life,
        actor=actor,
    )


async def list_invitations(conn: Connection, school: str | None = None) -> list[Invitation]:
    """Return the invitations that work, the first to expire first."""
    return await call_rows(conn, "list_invitations", class_row(Invitation), school=school)


async def end_invitation(conn: Connection, actor: str, invitation_id: UUID) -> None:
    """End an invitation; its members stay."""
    await call(conn, "end_invitation", id=invitation_id, actor=actor)


async def find_invitation(conn: Connection, code: str) -> str | None:
    """Return the school that a code is for; None where it does not work."""
    school: str | None = await call_value(conn, "find_invitation", code=code)
    return school


async def list_requests(
    conn: Connection, school: str | None = None, limit: int = 50
) -> list[MembershipRequest]:
    """Return who waits for an operator, longest first."""
    return await call_rows(
        conn,
        "list_membership_requests",
        class_row(MembershipRequest),
        school=school,
        limit=limit,
    )


async def decide(conn: Connection, actor: str, profile_id: UUID, *, reason: str | None) -> None:
    """Make somebody who asked a member, or with a reason refuse; they get a mail.

    Raises:
        NotFoundError: this person does not wait.
    """
    await call(conn, "decide_membership", profile_id=profile_id, reason=reason, actor=actor)


async def change_person(
    conn: Connection, actor: str, profile_id: UUID, *, school: str | None, gender: str | None
) -> None:
    """Change the school or the gender of a person for them; None leaves it."""
    await call(
        conn,
        "change_person",
        profile_id=profile_id,
        school=school,
        gender=gender,
        actor=actor,
    )


async def settle_changes(conn: Connection) -> int:
    """Let some people in whose change has settled; return how many. For the worker's login."""
    return int(await call_value(conn, "settle_changes"))


async def load_membership(conn: Connection) -> Membership | None:
    """Return how far the caller is with their school; None before they have chosen one."""
    return await call_row(conn, "get_membership", class_row(Membership))


async def join(conn: Connection, code: str) -> None:
    """Make the caller a member by a code.

    Raises:
        CodeInvalidError: it is not one for their school.
    """
    await call(conn, "join_school", code=code)


async def request_membership(conn: Connection, message: str) -> None:
    """Ask an operator to make the caller a member."""
    await call(conn, "request_membership", message=message)


async def leave(conn: Connection) -> None:
    """Take the caller out of their school."""
    await call(conn, "leave_school")
