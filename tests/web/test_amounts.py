"""How pages write amounts."""

from __future__ import annotations

from automatch.web.amounts import as_count, unit_of


def test_unit_is_as_many_as_the_count() -> None:
    assert [as_count(count, "jobs") for count in (0, 1, 2000)] == ["0 jobs", "1 job", "2,000 jobs"]
    assert (unit_of("people", "1"), unit_of("similarity", 1)) == ("person", "similarity")
