"""What belongs to services: routes, pages and the import make one call of the store at most."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import automatch

_SOURCE = Path(automatch.__file__).parent
_CALLERS = [
    path
    for folder in ("http", "web", "bulk_import")
    for path in sorted((_SOURCE / folder).rglob("*.py"))
]


def opens_transaction(item: ast.withitem) -> bool:
    """Tell whether a block begins with `something.db.as_user(…)` or another method of it."""
    match item.context_expr:
        case ast.Call(func=ast.Attribute(value=ast.Attribute(attr="db"))):
            return True
    return False


@pytest.mark.parametrize("path", _CALLERS, ids=lambda path: str(path.relative_to(_SOURCE)))
def test_transaction_outside_of_services_is_one_call_of_the_store(path: Path) -> None:
    for block in ast.walk(ast.parse(path.read_text())):
        if isinstance(block, ast.AsyncWith) and any(map(opens_transaction, block.items)):
            calls = [
                node
                for statement in block.body
                for node in ast.walk(statement)
                if isinstance(node, ast.Await)
            ]
            assert len(calls) <= 1, f"line {block.lineno} belongs to automatch.services"
