"""What an operator may send to `/api/admin`."""

from __future__ import annotations

from typing import Annotated, Literal, Self
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator
from pydantic_core import PydanticCustomError

from automatch.model.matches import DuplicateState
from automatch.services.validators import SchoolName

MAX_IDS = 1000

ErrorCode = Annotated[str, StringConstraints(pattern="^[a-z_]{1,60}$")]
JobIds = Annotated[list[UUID], Field(min_length=1, max_length=MAX_IDS)]


class _Form(BaseModel):
    # A misspelt field would do something else than was meant, to many jobs at once.
    model_config = ConfigDict(extra="forbid")


class PauseForm(_Form):
    """A school, or (without one) the whole queue."""

    school: SchoolName | None = None


class SetConcurrencyForm(_Form):
    """Jobs that each worker may hold at once; null leaves it to the workers' settings."""

    jobs: Annotated[int, Field(ge=1, le=100_000, strict=True)] | None


class JobsForm(_Form):
    """Jobs by their ids."""

    ids: JobIds


class RetryForm(_Form):
    """Which failed jobs: exactly one of the three."""

    ids: JobIds | None = None
    code: ErrorCode | None = None
    all: Literal[True] | None = None

    @model_validator(mode="after")
    def _says_which(self) -> Self:
        if sum(value is not None for value in (self.ids, self.code, self.all)) != 1:
            raise PydanticCustomError("which", "Send one of `ids`, `code` and `all`: true")
        return self


class PrioritizeForm(JobsForm):
    """Jobs and their new priority: 1 soon, 2 as usual, 3 when nobody waits."""

    priority: Annotated[int, Field(ge=1, le=3, strict=True)] = 1


class RequeueForm(_Form):
    """The similarity that this run asks for; null takes that of `match_settings`."""

    threshold: Annotated[float, Field(gt=0, lt=1)] | None = None


class DecisionForm(_Form):
    """What a pair of accounts is."""

    state: DuplicateState = Field(
        description="`confirmed`: one person. `dismissed`: two. `open`: not decided (any more)."
    )


class MatchingForm(_Form):
    """Whether two accounts that look like one person match."""

    match: Annotated[bool, Field(strict=True)]
