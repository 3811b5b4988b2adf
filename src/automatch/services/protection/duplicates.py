"""Accounts that look like one person: what operators see of them, and decide."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from automatch.model.matches import DuplicateState, SuspectedDuplicate
from automatch.model.operators import Operator
from automatch.services.operators.acts import Act, authorized, name_people
from automatch.store.database import Database
from automatch.store.protection import duplicates


@dataclass(frozen=True, slots=True)
class DuplicatesOverview:
    """Accounts that look like one person, closest pair first."""

    duplicates: Sequence[SuspectedDuplicate]
    match: bool
    """Whether such pairs match like any two people."""


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
