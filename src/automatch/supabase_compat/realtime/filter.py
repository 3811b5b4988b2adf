"""Filters of a subscription: `column=operator.value`, several joined by commas.

They are parsed once, into values of the types of their columns, and compared here: no part of a
filter ever reaches the database.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from automatch.errors.request import SubscriptionInvalidError
from automatch.supabase_compat.realtime.table import ColumnType

_MAX_CHARS = 4096
_MAX_CONDITIONS = 10
_MAX_VALUES = 100

_OPERATORS: dict[str, Callable[[Any, Any], bool]] = {
    "eq": operator.eq,
    "neq": operator.ne,
    "lt": operator.lt,
    "lte": operator.le,
    "gt": operator.gt,
    "gte": operator.ge,
    "in": lambda value, values: value in values,
}
# A quoted value may hold anything, with \" and \\ for those two; a list stands in parentheses.
_QUOTED = r'"(?:[^"\\]|\\.)*"'
_CONDITION = re.compile(
    rf'(?P<column>\w+)=(?P<not>not\.)?(?P<operator>\w+)\.(?P<value>\((?:{_QUOTED}|[^"()])*\)'
    rf'|{_QUOTED}|[^,()"]*)(?:,|$)'
)
_VALUE = re.compile(rf"(?P<quoted>{_QUOTED})(?:,|$)|(?P<plain>[^,\"]*)(?:,|$)")


@dataclass(frozen=True, slots=True)
class Condition:
    """One comparison of a filter."""

    column: str
    compare: Callable[[Any, Any], bool]
    operand: Any
    negated: bool

    def holds(self, row: Mapping[str, Any]) -> bool:
        """Return whether a row meets it; as in SQL, no condition is true of a null."""
        value = row[self.column]
        return value is not None and self.compare(value, self.operand) != self.negated


def parse_filter(text: str, columns: Mapping[str, ColumnType]) -> tuple[Condition, ...]:
    """Return the conditions of a filter, all of which must hold.

    Raises:
        SubscriptionInvalidError: it is not one, or names what the table does not have.
    """
    conditions: list[Condition] = []
    start = 0
    while start < len(text):
        match = _CONDITION.match(text, start) if len(text) <= _MAX_CHARS else None
        if match is None or len(conditions) == _MAX_CONDITIONS:
            raise SubscriptionInvalidError(
                "A filter is `column=operator.value`, or at most "
                f"{_MAX_CONDITIONS} of them with commas between."
            )
        conditions.append(_condition(match, columns))
        start = match.end()
    return tuple(conditions)


def _condition(match: re.Match[str], columns: Mapping[str, ColumnType]) -> Condition:
    column_type = columns.get(match["column"])
    if column_type is None:
        raise SubscriptionInvalidError(f"A filter may name the columns {', '.join(columns)}.")
    name, value = match["operator"], match["value"]
    compare = _OPERATORS.get(name)
    if compare is None:
        raise SubscriptionInvalidError(f"A filter may use the operators {', '.join(_OPERATORS)}.")
    texts = _list(value) if name == "in" else [_unquoted(value)]
    try:
        operands = [column_type.parse(text) for text in texts]
    except ValueError as exc:
        raise SubscriptionInvalidError(
            f"The filter compares {match['column']} with what is no {column_type.value}."
        ) from exc
    operand = operands if name == "in" else operands[0]
    return Condition(match["column"], compare, operand, negated=match["not"] is not None)


def _list(text: str) -> list[str]:
    if not text.startswith("(") or text == "()":
        raise SubscriptionInvalidError("The operator `in` takes a list: `id=in.(a,b)`.")
    inner, start = text[1:-1], 0
    values: list[str] = []
    while start < len(inner):
        match = _VALUE.match(inner, start)
        if match is None or len(values) == _MAX_VALUES:
            raise SubscriptionInvalidError(
                f"A list of a filter takes at most {_MAX_VALUES} values with commas between."
            )
        values.append(_unquoted(match["quoted"] or match["plain"]))
        start = match.end()
    return values


def _unquoted(text: str) -> str:
    return re.sub(r"\\(.)", r"\1", text[1:-1]) if text.startswith('"') else text
