"""`/api/reports`: reporting a person or a photo of one's feed."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field

from automatch.errors.request import InputInvalidError, NotFoundError
from automatch.errors.store import DatabaseUnavailableError
from automatch.http.declaration import Access, DeclaredRoute, declare
from automatch.http.deps import CallerDep, ServicesDep
from automatch.model.cases import ReportReason
from automatch.services.accounts.rate_limits import Limit
from automatch.services.protection.reports import MAX_STATEMENT
from automatch.services.validators import StorableText

router = APIRouter(tags=["reports"], route_class=DeclaredRoute)


class ReportForm(BaseModel):
    """Whom or what to report, and why."""

    model_config = ConfigDict(extra="forbid")

    profile_id: UUID
    face_id: UUID | None = None
    """A photo of theirs; left out, the one of their card."""
    reason: ReportReason
    statement: Annotated[StorableText, Field(max_length=MAX_STATEMENT)] = ""
    """What happened, in a sentence; needed for `other`."""


class ReportResponse(BaseModel):
    """The case that an operator looks at."""

    id: UUID


@router.post("/api/reports", status_code=201, summary="Report a person or a photo")
@declare(
    Access.PERSON,
    limits=(Limit.REPORTS,),
    errors=(DatabaseUnavailableError, InputInvalidError, NotFoundError),
)
async def report(form: ReportForm, caller: CallerDep, services: ServicesDep) -> ReportResponse:
    """Report somebody of one's feed; the two do not see each other from now on.

    They are not told who reported them.
    """
    return ReportResponse(
        id=await services.reports.report(
            caller.claims, form.profile_id, form.reason, form.statement, form.face_id
        )
    )


@router.delete("/api/reports/{case_id}", status_code=204, summary="Take a report back")
@declare(Access.PERSON, errors=(DatabaseUnavailableError, InputInvalidError, NotFoundError))
async def withdraw(case_id: UUID, caller: CallerDep, services: ServicesDep) -> None:
    """Take back a report within a minute, unless somebody has looked at it."""
    await services.reports.withdraw(caller.claims, case_id)
