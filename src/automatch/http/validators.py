"""Text that comes from outside, as Postgres can keep it and a page can show it."""

from __future__ import annotations

import unicodedata
from typing import Annotated

from pydantic import AfterValidator
from pydantic_core import PydanticCustomError

_JOINERS = "\u200c\u200d"
"""Invisible, but part of how Persian, Hindi and emoji are written."""


def _storable(text: str) -> str:
    if "\0" in text or any("\ud800" <= char <= "\udfff" for char in text):
        raise PydanticCustomError("text", "Some characters are not allowed")
    return text


def _shown(text: str) -> str:
    kinds = {unicodedata.category(char) for char in text if char not in _JOINERS}
    # Line ends, other control characters, and those that turn the direction of what follows.
    if kinds & {"Cc", "Cf", "Cs", "Zl", "Zp"}:
        raise PydanticCustomError("text", "Some characters are not allowed")
    if not any(kind[0] not in "CZ" for kind in kinds):
        raise PydanticCustomError("text", "Nothing in it can be seen")
    return text


Text = Annotated[str, AfterValidator(_storable)]
shown = AfterValidator(_shown)
"""For one line that other people see."""
