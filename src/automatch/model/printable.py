"""Text of strangers where it could do something: on a terminal, in a log, in a spreadsheet."""

from __future__ import annotations

_JOINERS = "\u200c\u200d"
"""Invisible, but part of how Persian, Hindi and emoji are written."""
_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\uff1d", "\uff0b", "\uff0d", "\uff20")
"""Characters with which a formula of a spreadsheet starts, in the width of some keyboards too."""


def printable(text: str, *, keep: str = "") -> str:
    """Return *text* with a question mark for every character that is not one to read.

    Those control a terminal, or turn the direction of what follows them. Characters in *keep* stay.
    """
    if text.isprintable():
        return text
    return "".join(
        char if char.isprintable() or char in _JOINERS or char in keep else "?" for char in text
    )


def starts_formula(value: str) -> bool:
    """Tell whether a spreadsheet would calculate with *value*."""
    return value.lstrip().startswith(_FORMULA_STARTS) or value.startswith(_FORMULA_STARTS)


def spreadsheet_cell(value: str) -> str:
    """Return *value* so that a spreadsheet shows it and runs nothing."""
    cell = printable(value)
    return f"'{cell}" if starts_formula(value) else cell
