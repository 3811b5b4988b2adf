"""Text of strangers on a terminal, in a log and in a spreadsheet."""

from __future__ import annotations

import pytest

from automatch.model.printable import printable, spreadsheet_cell

_HARMFUL = [
    *(chr(code) for code in range(32)),
    *(chr(code) for code in range(0x7F, 0xA0)),
    *"\u061c\u200e\u200f\u2028\u2029\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\ufeff",
]


@pytest.mark.parametrize("char", _HARMFUL, ids=ascii)
def test_what_controls_a_terminal_or_turns_text_is_replaced(char: str) -> None:
    assert printable(f"a{char}b") == "a?b"


@pytest.mark.parametrize("text", ["Nguyễn Thị Ánh", "می‌خواهم", "👩‍🚀 Mae", "[bold]"])
def test_names_stay_as_they_are(text: str) -> None:
    assert printable(text) == text
    assert spreadsheet_cell(text) == text


@pytest.mark.parametrize("start", [*"=+-@", "\t=", "\r", " =", "\uff1d", "\uff20"])
def test_formula_is_shown_and_not_run(start: str) -> None:
    cell = spreadsheet_cell(f"{start}1")

    assert cell.startswith("'")
    assert cell.isprintable()
