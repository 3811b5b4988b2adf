"""SECURITY.md and docs/security-report.md: each promise and each kind of attack has its tests."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from tools import security_report
from tools.security_report import read_classes, read_promises

_TESTS = Path(__file__).parents[1]
_NAMED = sorted({test for row in [*read_classes(), *read_promises()] for test in row.tests})


@pytest.mark.parametrize("test", _NAMED)
def test_named_test_exists(test: str) -> None:
    file, _, name = test.partition("::")
    tree = ast.parse((_TESTS / file).read_text("utf-8"))

    assert not name or name in {
        node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }


def test_every_promise_is_shown_by_a_test() -> None:
    policy = security_report.POLICY.read_text("utf-8")
    promised = re.findall(r"^(\d+)\. \*\*", policy, re.MULTILINE)

    assert [row.title.partition(".")[0] for row in read_promises()] == promised
    assert all(row.tests for row in read_promises())


def test_report_has_every_kind_of_attack_and_no_finding() -> None:
    report = security_report.PAGE.read_text("utf-8")

    for row in [*read_classes(), *read_promises()]:
        assert f"| {row.title} | " in report
    assert re.search(r"\*\*[\d,]+ cases tried, 0 findings\.\*\*", report)
