"""What operators look at and set up, over HTTP or by a command on a connection of their own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from uuid import UUID

from automatch.model.jobs import Queue, StatusCount
from automatch.model.matches import DuplicateState, SuspectedDuplicate
from automatch.model.operators import Operator
from automatch.model.people import Gender, User
from automatch.services.acts import Act, authorized, name_people
from automatch.store import duplicates, queue_admin, smoke_test_users
from automatch.store.database import Connection, Database

if TYPE_CHECKING:
    from automatch.auth.tokens import Tokens


@dataclass(frozen=True, slots=True)
class QueueOverview:
    """The queue, and how many jobs are in each status."""

    queue: Queue
    statuses: Sequence[StatusCount]


@dataclass(frozen=True, slots=True)
class DuplicatesOverview:
    """Accounts that look like one person, closest pair first."""

    duplicates: Sequence[SuspectedDuplicate]
    match: bool
    """Whether such pairs match like any two people."""


@dataclass(frozen=True, slots=True)
class SmokeTestPerson:
    """Somebody who does not exist, and the token with which they ask."""

    id: UUID
    gender: Gender
    access_token: str


@dataclass(frozen=True, slots=True)
class SmokeTest:
    """Two people in a school of their own, who have not consented yet."""

    id: UUID
    school: str
    people: Sequence[SmokeTestPerson]


async def load_queue_overview(conn: Connection) -> QueueOverview:
    """Return what waits, is processed or is paused, and how many jobs are in each status."""
    return QueueOverview(await queue_admin.load_queue(conn), await queue_admin.count_jobs(conn))


async def load_duplicates_overview(
    db: Database, operator: Operator, state: DuplicateState | None, limit: int
) -> DuplicatesOverview:
    """Return the pairs of one state, or with None of all, and whether they match.

    Raises:
        ForbiddenError: see `authorized`.
    """
    details: dict[str, Any] = {}
    async with authorized(db, operator, Act.LIST_DUPLICATES, details=details) as conn:
        found = await duplicates.list_duplicates(conn, state, limit)
        name_people(details, {person for pair in found for person in _people_of(pair)})
        return DuplicatesOverview(found, await duplicates.is_matching(conn))


def _people_of(pair: SuspectedDuplicate) -> tuple[UUID, UUID]:
    return pair.profile_a_id, pair.profile_b_id


async def load_duplicate(db: Database, operator: Operator, pair_id: UUID) -> SuspectedDuplicate:
    """Return one pair.

    Raises:
        NotFoundError: there is none.
        ForbiddenError: see `authorized`.
    """
    details: dict[str, Any] = {"pair": str(pair_id)}
    async with authorized(db, operator, Act.LIST_DUPLICATES, details=details) as conn:
        pair = await duplicates.load_duplicate(conn, pair_id)
        name_people(details, _people_of(pair))
        return pair


async def decide_duplicate(
    db: Database, operator: Operator, pair_id: UUID, state: DuplicateState
) -> None:
    """Say that a pair is one person or two, or take a decision back.

    Raises:
        NotFoundError: there is no such pair.
        ForbiddenError: see `authorized`.
    """
    async with authorized(db, operator, Act.DECIDE_DUPLICATE, pair_id) as conn:
        await duplicates.decide(conn, operator.actor, pair_id, state)


async def set_duplicate_matching(db: Database, operator: Operator, match: bool) -> None:
    """Set whether pairs that are not dismissed match.

    Raises:
        ForbiddenError: see `authorized`.
    """
    async with authorized(db, operator, Act.SET_DUPLICATE_MATCHING) as conn:
        await duplicates.set_matching(conn, operator.actor, match)


async def start_smoke_test(conn: Connection, tokens: Tokens, actor: str) -> SmokeTest:
    """Create a woman and a man whom no real person is matched with, shown or in a school with."""
    pair = await smoke_test_users.start_smoke_test(conn, actor)

    def with_token(person_id: UUID, gender: Gender) -> SmokeTestPerson:
        # They have no account: their session is the run, and ends with it.
        user = User(person_id, "", {}, {}, datetime.now(UTC), None)
        return SmokeTestPerson(person_id, gender, tokens.issue(user, pair.id, for_smoke_test=True))

    people = [with_token(pair.her_id, Gender.FEMALE), with_token(pair.his_id, Gender.MALE)]
    return SmokeTest(pair.id, pair.school, people)
