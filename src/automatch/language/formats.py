"""How each language writes days, times, numbers and lengths of time."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta

from babel import Locale
from babel.dates import format_date, format_timedelta
from babel.lists import format_list
from babel.numbers import format_decimal, format_percent

from automatch.language.catalogue import LANGUAGES, current_language, gettext

_GAP = "\N{NO-BREAK SPACE}"
_DAYS = {"en": "d MMM y", "vi": "d/M/y"}


def as_day(moment: date) -> str:
    """Return a day, as short as it can be understood."""
    return format_date(moment, _DAYS.get(current_language(), "medium"), locale=_locale())


def as_minute(moment: datetime) -> str:
    """Return a day and a time."""
    return _at(moment, "%H:%M")


def as_second(moment: datetime) -> str:
    """Return a day and a time with its seconds."""
    return _at(moment, "%H:%M:%S")


def as_percent(percent: int) -> str:
    """Return a whole number of percent with its sign."""
    return format_percent(percent / 100, locale=_locale())


def as_number(number: float) -> str:
    """Return a number with the separators of the language."""
    return format_decimal(number, locale=_locale())


def as_list(parts: Sequence[str]) -> str:
    """Return several things in a sentence: `a, b and c`."""
    return format_list(list(parts), locale=_locale())


def as_alternatives(parts: Sequence[str], prefix: str = "") -> str:
    """Return several things to choose from, in a sentence: `a, b or c`."""
    return format_list([prefix + part for part in parts], style="or", locale=_locale())


def as_ago(moment: datetime, now: datetime | None = None) -> str:
    """Return how long ago something was, in its largest unit."""
    return format_timedelta(
        moment - (now or datetime.now(UTC)), add_direction=True, locale=_locale()
    )


def as_wait(length: timedelta) -> str:
    """Return a length of time that somebody waits, in its largest unit."""
    return format_timedelta(length, locale=_locale())


def as_seconds(seconds: float) -> str:
    """Return how long something took."""
    if seconds < 9.95:
        return gettext("%(seconds)s s", seconds=as_number(round(seconds, 1))).replace(" ", _GAP)
    if seconds < 119.5:
        return gettext("%(seconds)s s", seconds=as_number(round(seconds))).replace(" ", _GAP)
    return gettext("%(minutes)s min", minutes=as_number(round(seconds / 60))).replace(" ", _GAP)


def _at(moment: datetime, pattern: str) -> str:
    time = moment.astimezone(UTC).strftime(pattern)
    return gettext("%(day)s, %(time)s UTC", day=as_day(moment), time=time)


def _locale() -> Locale:
    language = current_language()
    return Locale(language if language in LANGUAGES else "en")
