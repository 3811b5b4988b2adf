"""Sentences for what is wrong with the fields of a request.

Pydantic words its errors for developers; whoever sent the request reads these.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

_SENTENCES = {
    "missing": "is missing",
    "extra_forbidden": "is not a field here",
    "json_invalid": "is not valid JSON",
    "model_attributes_type": "has to be an object",
    "dict_type": "has to be an object",
    "list_type": "has to be a list",
    "string_type": "has to be text",
    "string_unicode": "has to be text",
    "string_too_short": "has to have at least {min_length} characters",
    "string_too_long": "may have at most {max_length} characters",
    "string_pattern_mismatch": "does not have the form that it should",
    "too_short": "has to have at least {min_length} entries",
    "too_long": "may have at most {max_length} entries",
    "bool_type": "has to be true or false",
    "bool_parsing": "has to be true or false",
    "int_type": "has to be a whole number",
    "int_parsing": "has to be a whole number",
    "int_parsing_size": "has to be a whole number of a usual size",
    "int_from_float": "has to be a whole number",
    "float_type": "has to be a number",
    "float_parsing": "has to be a number",
    "finite_number": "has to be a number",
    "greater_than": "has to be greater than {gt}",
    "greater_than_equal": "has to be at least {ge}",
    "less_than": "has to be less than {lt}",
    "less_than_equal": "may be at most {le}",
    "literal_error": "has to be {expected}",
    "enum": "has to be {expected}",
    "uuid_type": "is not an id",
    "uuid_parsing": "is not an id",
    "date_from_datetime_parsing": "is not a date",
    "date_parsing": "is not a date",
    "none_required": "has to be null",
}
"""By the `type` of a pydantic error, filled in with its `ctx`."""


def describe_problems(problems: Sequence[Mapping[str, Any]]) -> str:
    """Return what is wrong, at most five problems, from `ValidationError.errors()`.

    What was sent is not repeated: it may be a password.
    """
    return "; ".join(_describe(problem) for problem in problems[:5]) + "."


def _describe(problem: Mapping[str, Any]) -> str:
    field = _field(problem["loc"])
    if problem["type"] in _SENTENCES:
        return f"{field} {_SENTENCES[problem['type']].format_map(problem.get('ctx', {}))}"
    # What our own validators found comes with our words.
    return f"{field}: {problem['msg']}"


def _field(location: Sequence[int | str]) -> str:
    # Where the JSON itself is malformed, the location is a number of characters. And a name may be
    # anything that a stranger sent.
    names = [str(part)[:40] for part in location[1:]]
    return ".".join(names) if len(location) > 1 and isinstance(location[1], str) else "The body"
