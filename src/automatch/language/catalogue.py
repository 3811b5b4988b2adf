"""The language of what is being written for somebody, and its catalogue of texts.

English is in the source, as the key of each text; the other languages are `locale/*/LC_MESSAGES/
messages.po`, read when the first text in them is asked for. A request sets the language of its
page, and a mail that of its reader; everything else, the API above all, speaks English.
"""

from __future__ import annotations

import gettext as standard_gettext
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import field
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import Any

ENGLISH = "en"
LANGUAGES = {ENGLISH: "English", "vi": "Tiếng Việt"}
"""Each by its tag, named in its own words."""
COOKIE = "automatch_language"
"""Of a browser in which somebody chose one, signed in or not."""
LOCALE_FOLDER = Path(__file__).parents[1] / "locale"
_MAX_PREFERRED = 10

Texts = standard_gettext.NullTranslations

_spoken: ContextVar[str] = ContextVar("language", default=ENGLISH)
_preferred: ContextVar[str | None] = ContextVar("preferred_language", default=None)


def current_language() -> str:
    """Return the tag of the language to write in here."""
    return _spoken.get()


def preferred_language() -> str | None:
    """Return the language of whoever sent the request, for a mail about it; None outside of one."""
    return _preferred.get()


@contextmanager
def speaking(language: str) -> Iterator[None]:
    """Write in a language within the block."""
    token = _spoken.set(language)
    try:
        yield
    finally:
        _spoken.reset(token)


def begin_in(language: str, *, preferred: str) -> None:
    """Write in a language from now on in this task, for somebody who prefers another one."""
    _spoken.set(language)
    _preferred.set(preferred)


def gettext(message: str, **values: object) -> str:
    """Return a text in the language of its reader; *values* fill its `%(name)s`."""
    return _fill(current_texts().gettext(message), values)


def ngettext(singular: str, plural: str, count: int, **values: object) -> str:
    """Return a text for a count, which is also its `%(num)s`."""
    return _fill(current_texts().ngettext(singular, plural, count), {"num": count, **values})


def pgettext(context: str, message: str, **values: object) -> str:
    """Return a text whose English alone would be ambiguous."""
    return _fill(current_texts().pgettext(context, message), values)


def npgettext(context: str, singular: str, plural: str, count: int, **values: object) -> str:
    """Return a text for a count whose English alone would be ambiguous."""
    return _fill(
        current_texts().npgettext(context, singular, plural, count), {"num": count, **values}
    )


def gettext_noop(message: str) -> str:
    """Mark a text for the catalogues that is translated later, where it is shown."""
    return message


def text_field(message: str) -> Any:
    """Return the default of a dataclass field: a text in the language of whoever it is made for."""
    return field(default_factory=lambda: gettext(message))


def choose_language(preferred: Sequence[str]) -> str:
    """Return the first language of a list of tags that there is; English if there is none."""
    return next((tag for tag in preferred if tag in LANGUAGES), ENGLISH)


def read_accept_language(header: str) -> list[str]:
    """Return the languages that a reader prefers, the first one first, as tags in lower case."""
    weighed: list[tuple[float, str]] = []
    for part in header.split(",")[:_MAX_PREFERRED]:
        tag, _, quality = part.partition(";")
        try:
            weight = float(quality.strip().removeprefix("q=") or 1)
        except ValueError:
            continue
        if tag.strip() and weight > 0:
            weighed.append((weight, tag.strip().lower()))
    weighed.sort(key=lambda entry: -entry[0])
    # Whoever asks for `vi-VN` reads `vi`.
    return [name for _, tag in weighed for name in (tag, tag.partition("-")[0])]


def _fill(text: str, values: dict[str, object]) -> str:
    return text % values if values else text


def current_texts() -> Texts:
    """Return the texts of the language to write in here, as they are: nothing is filled in."""
    return load_texts(_spoken.get())


@cache
def load_texts(language: str) -> Texts:
    """Return the texts of a language; those of English are the keys themselves."""
    if language == ENGLISH:
        return Texts()
    # Only a process that speaks another language pays for it.
    from babel.messages.mofile import write_mo
    from babel.messages.pofile import read_po

    compiled = BytesIO()
    with (LOCALE_FOLDER / language / "LC_MESSAGES" / "messages.po").open("rb") as file:
        write_mo(compiled, read_po(file, locale=language))
    compiled.seek(0)
    return standard_gettext.GNUTranslations(compiled)
