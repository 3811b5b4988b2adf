"""The style sheets: all values of the design are in one of them, and the others only name them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from automatch.web.templating import STATIC_FOLDER

SHEETS = sorted(path for path in STATIC_FOLDER.glob("*.css") if path.name != "tokens.css")
TOKENS = (STATIC_FOLDER / "tokens.css").read_text()

RAW = {
    "colour": r"#[0-9a-f]{3,8}\b|\b(?:rgb|hsl|oklch|lab)a?\(|:\s*(?:white|black|red)\b",
    "size of type": r"font-size:(?!\s*(?:var\(--text|inherit|0?\.?\d+em))[^;]*",
    "font": r"\bfont:(?!\s*(?:inherit|[^;]*var\(--(?:root|text)))[^;]*",
    "layer": r"z-index:\s*\d[^;]*",
    "duration": r"(?<![\w.-])\d*\.?\d+m?s\b",
}


@pytest.mark.parametrize("kind", RAW)
@pytest.mark.parametrize("sheet", SHEETS, ids=lambda sheet: sheet.name)
def test_only_the_tokens_hold_values(sheet: Path, kind: str) -> None:
    rules = re.sub(r"/\*.*?\*/", "", sheet.read_text(), flags=re.S)

    assert re.findall(RAW[kind], rules, re.IGNORECASE) == []


@pytest.mark.parametrize("sheet", SHEETS, ids=lambda sheet: sheet.name)
def test_every_value_that_is_named_exists(sheet: Path) -> None:
    css = sheet.read_text()

    named = set(re.findall(r"var\((--[\w-]+)\)", css))

    assert named <= set(re.findall(r"(--[\w-]+):", TOKENS + css))


def test_dark_says_each_colour_anew() -> None:
    light, dark = TOKENS.split("@media (prefers-color-scheme: dark)")
    colours = set(re.findall(r"(--[\w-]+): #", light)) - {"--on-photo", "--photo-ink"}

    assert colours == set(re.findall(r"(--[\w-]+): #", dark))
