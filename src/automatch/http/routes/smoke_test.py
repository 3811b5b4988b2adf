"""`/api/admin/smoke-tests`: the two people of `automatch verify`, with the service key."""

from __future__ import annotations

from datetime import UTC, datetime
from uuid import UUID, uuid4

from fastapi import APIRouter
from pydantic import BaseModel

from automatch.http.deps import OperatorDep, ServicesDep
from automatch.http.routes.admin import Count
from automatch.http.services import Services
from automatch.model.people import Gender, User
from automatch.store import smoke_test_users

router = APIRouter(prefix="/api/admin/smoke-tests", tags=["admin"])


class TrialPerson(BaseModel):
    """Somebody who does not exist, and the token with which they ask."""

    id: UUID
    gender: Gender
    access_token: str


class TrialShown(BaseModel):
    """Two people in a school of their own, who have not consented yet."""

    id: UUID
    school: str
    people: list[TrialPerson]


@router.post("", summary="Make two people to try with")
async def start(actor: OperatorDep, services: ServicesDep) -> TrialShown:
    """Make a woman and a man whom no real person is matched with, shown or in a school with."""
    async with services.db.connection() as conn:
        trial = await smoke_test_users.start_smoke_test(conn, actor)
    return TrialShown(
        id=trial.id,
        school=trial.school,
        people=[
            _person(services, trial.her_id, Gender.FEMALE),
            _person(services, trial.his_id, Gender.MALE),
        ],
    )


@router.delete("/{trial_id:uuid}", summary="Erase them again")
async def end(trial_id: UUID, actor: OperatorDep, services: ServicesDep) -> Count:
    """Erase the two with photos, templates, jobs and matches; tell how many were still there."""
    async with services.db.connection() as conn:
        return Count(count=await smoke_test_users.end_smoke_test(conn, actor, trial_id))


def _person(services: Services, person_id: UUID, gender: Gender) -> TrialPerson:
    # They have no account: the token is all there is, and ends by itself.
    user = User(person_id, "", {}, {}, datetime.now(UTC), None)
    return TrialPerson(
        id=person_id, gender=gender, access_token=services.tokens.issue(user, uuid4())
    )
