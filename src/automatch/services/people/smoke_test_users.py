"""The two people of a smoke test, who do not exist, and the tokens with which they ask."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING
from uuid import UUID

from automatch.model.people import Gender, User
from automatch.store.database import Connection
from automatch.store.people import smoke_test_users

if TYPE_CHECKING:
    from automatch.auth.tokens import Tokens


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


async def start_smoke_test(conn: Connection, tokens: Tokens, actor: str) -> SmokeTest:
    """Create a woman and a man whom no real person is matched with, shown or in a school with."""
    pair = await smoke_test_users.start_smoke_test(conn, actor)

    def with_token(person_id: UUID, gender: Gender) -> SmokeTestPerson:
        # They have no account: their session is the run, and ends with it.
        user = User(person_id, "", {}, {}, datetime.now(UTC), None)
        return SmokeTestPerson(person_id, gender, tokens.issue(user, pair.id, for_smoke_test=True))

    people = [with_token(pair.her_id, Gender.FEMALE), with_token(pair.his_id, Gender.MALE)]
    return SmokeTest(pair.id, pair.school, people)
