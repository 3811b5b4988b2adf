"""docs/privacy.md: the table of what goes by itself is that of the code, with its defaults."""

from __future__ import annotations

import re
from datetime import timedelta
from pathlib import Path

import pytest
from pydantic.fields import FieldInfo

from automatch.settings import Settings
from automatch.settings.storage import RetentionSettings

_ROOT = Path(__file__).parents[2]
_PAGE = (_ROOT / "docs" / "privacy.md").read_text("utf-8")
_SQL = (_ROOT / "src/automatch/sql/schema/39_retention.sql").read_text("utf-8")
_TABLE = re.search(r"^## What goes by itself\n.*?^(\|.*?\n)\n", _PAGE, re.MULTILINE | re.DOTALL)
assert _TABLE is not None
_ROWS = re.findall(r"^\| (.+?) \| (.+?) \| (.*?) ?\|$", _TABLE[1], re.MULTILINE)
_UNITS = {
    "second": timedelta(seconds=1),
    "hour": timedelta(hours=1),
    "day": timedelta(days=1),
    "month": timedelta(days=30),
    "year": timedelta(days=365),
}
_DELETED = re.findall(r"\('(\w+\.\w+)', '\w+', ('[^']+'|p_\w+)\)", _SQL)
_FIELDS = {
    f"AUTOMATCH_RETENTION__{name.upper()}": field
    for name, field in RetentionSettings.model_fields.items()
    if name.endswith(("_s", "_days"))
}


def _age(text: str) -> timedelta | None:
    """Return what `a day`, `an hour` or `90 days` means; None for an end that is no age."""
    found = re.match(r"(an?|\d+) (second|hour|day|month|year)s?\b", text)
    if found is None:
        return None
    return _UNITS[found[2]] * (int(found[1]) if found[1].isdecimal() else 1)


@pytest.mark.parametrize(("relation", "age"), _DELETED, ids=[name for name, _ in _DELETED])
def test_every_table_whose_rows_are_deleted_is_named(relation: str, age: str) -> None:
    kept = [kept for what, kept, _ in _ROWS if f"`{relation}`" in what]

    assert len(kept) == 1
    if age.startswith("'") and not age.startswith("'0 "):
        assert _age(kept[0]) == _age(age.strip("'"))


@pytest.mark.parametrize("name", _FIELDS)
def test_every_setting_of_retention_is_named_with_its_default(name: str) -> None:
    field: FieldInfo = _FIELDS[name]
    unit = _UNITS["day" if name.endswith("_DAYS") else "second"]

    kept = [kept for _, kept, setting in _ROWS if f"`{name}`" in setting]

    # What is 0 is kept without an end.
    assert [_age(text) for text in kept] == [unit * field.default if field.default else None]


def test_sessions_are_kept_as_long_as_their_tokens_are_good() -> None:
    [kept] = [kept for what, kept, _ in _ROWS if "`auth.sessions`" in what]

    assert _age(kept) == timedelta(seconds=Settings().auth.refresh_token_s)
