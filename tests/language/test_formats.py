"""How each language writes days, times, numbers and lengths of time."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

from automatch.language.catalogue import speaking
from automatch.language.formats import (
    as_ago,
    as_day,
    as_list,
    as_minute,
    as_number,
    as_percent,
    as_wait,
)

NOON = datetime(2026, 9, 4, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("write", "english", "vietnamese"),
    [
        (lambda: as_day(NOON), "4 Sep 2026", "4/9/2026"),
        (lambda: as_day(NOON.date()), "4 Sep 2026", "4/9/2026"),
        (lambda: as_percent(70), "70%", "70%"),
        (lambda: as_number(12345.6), "12,345.6", "12.345,6"),
        (lambda: as_list(["a", "b", "c"]), "a, b, and c", "a, b và c"),
        (lambda: as_ago(NOON - timedelta(hours=3), NOON), "3 hours ago", "3 giờ trước"),
        (lambda: as_wait(timedelta(days=3)), "3 days", "3 ngày"),
    ],
)
def test_each_language_writes_it_its_own_way(
    write: Callable[[], str], english: str, vietnamese: str
) -> None:
    with speaking("vi"):
        in_vietnamese = write()

    assert (write(), in_vietnamese) == (english, vietnamese)


def test_a_time_says_its_zone() -> None:
    assert as_minute(NOON) == "4 Sep 2026, 12:00 UTC"
