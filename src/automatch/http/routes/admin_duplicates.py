"""`/api/admin/duplicates`: accounts that look like one person, and what becomes of them."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field

from automatch.http.deps import OperatorDep, ServicesDep
from automatch.http.routes.admin import Limit
from automatch.model.matches import DuplicateState, SuspectedDuplicate
from automatch.store import duplicates

router = APIRouter(prefix="/api/admin/duplicates", tags=["admin"])


class DuplicatesShown(BaseModel):
    """Pairs of accounts, closest first."""

    duplicates: list[SuspectedDuplicate]
    match: bool = Field(description="Whether such pairs match like any two people.")


class DecisionForm(BaseModel):
    """What a pair is."""

    model_config = ConfigDict(extra="forbid")

    state: DuplicateState = Field(
        description="`confirmed`: one person. `dismissed`: two. `open`: not decided (any more)."
    )


class MatchingForm(BaseModel):
    """Whether two accounts that look like one person match."""

    model_config = ConfigDict(extra="forbid")

    match: Annotated[bool, Field(strict=True)]


@router.get("", summary="Accounts that look like one person")
async def read(
    _: OperatorDep,
    services: ServicesDep,
    state: Annotated[
        DuplicateState | None, Query(description="Only this state; left out, all of them.")
    ] = None,
    limit: Limit = 50,
) -> DuplicatesShown:
    """Return pairs of accounts whose closest photos are as alike as two of one person.

    `u` is the distance of the two embeddings: the smaller, the surer. A resemblance is no proof.
    """
    async with services.db.connection() as conn:
        return DuplicatesShown(
            duplicates=await duplicates.list_duplicates(conn, state, limit),
            match=await duplicates.is_matching(conn),
        )


@router.put("/matching", summary="Let accounts of one person match, or not")
async def set_matching(
    form: MatchingForm, actor: OperatorDep, services: ServicesDep
) -> MatchingForm:
    """Set whether pairs that are not dismissed match; feeds follow at once."""
    async with services.db.connection() as conn:
        await duplicates.set_matching(conn, actor, form.match)
    return form


# Matched as an id, so that `/matching` is no pair.
@router.put("/{pair_id:uuid}", status_code=204, summary="Decide about a pair")
async def decide(
    pair_id: UUID, form: DecisionForm, actor: OperatorDep, services: ServicesDep
) -> None:
    """Say that a pair is one person, or two; the decision is kept when they are found again."""
    async with services.db.connection() as conn:
        await duplicates.decide(conn, actor, pair_id, form.state)
