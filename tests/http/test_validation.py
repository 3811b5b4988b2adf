"""Sentences for the fields of a request: in our words, few, and without what was sent."""

from __future__ import annotations

from typing import Annotated, Any, Literal
from uuid import UUID

import pytest
from pydantic import AfterValidator, BaseModel, Field, ValidationError

from automatch.http.validation import describe_problems

CANARY = "what-was-sent"


def _refuse(value: str) -> str:
    raise ValueError("is not what we want")


class Form(BaseModel, extra="forbid"):
    name: str = Field("", max_length=3)
    count: int = Field(1, ge=1)
    kind: Literal["a", "b"] = "a"
    id: UUID | None = None
    own: Annotated[str, AfterValidator(_refuse)] = ""


def problems_of(form: dict[Any, Any]) -> list[Any]:
    """Return what FastAPI tells of a body."""
    with pytest.raises(ValidationError) as refused:
        Form.model_validate(form)
    return [{**problem, "loc": ("body", *problem["loc"])} for problem in refused.value.errors()]


@pytest.mark.parametrize(
    ("form", "sentence"),
    [
        ({"name": CANARY}, "name may have at most 3 characters."),
        ({"name": 1}, "name has to be text."),
        ({"count": CANARY}, "count has to be a whole number."),
        ({"count": 0}, "count has to be at least 1."),
        ({"kind": CANARY}, "kind has to be 'a' or 'b'."),
        ({"id": CANARY}, "id is not an id."),
        ({"other": CANARY}, "other is not a field here."),
        ({"own": CANARY}, "own: Value error, is not what we want."),
        ({"count": 0, "id": CANARY}, "count has to be at least 1; id is not an id."),
    ],
)
def test_problem_is_a_sentence_without_what_was_sent(form: dict[str, Any], sentence: str) -> None:
    assert describe_problems(problems_of(form)) == sentence


def test_few_problems_are_told_and_names_of_strangers_are_cut() -> None:
    told = describe_problems(problems_of({f"{number}{'x' * 100}": 1 for number in range(9)}))

    assert told.split("; ")[0] == f"0{'x' * 39} is not a field here"
    assert told.count(";") == 4


def test_malformed_json_is_the_body_and_no_number_of_characters() -> None:
    told = describe_problems([{"type": "json_invalid", "loc": ("body", 17), "msg": "", "ctx": {}}])

    assert told == "The body is not valid JSON."
