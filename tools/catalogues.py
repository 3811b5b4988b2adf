"""Bring the catalogues up to date with the sources: `make catalogues`.

New texts come in without a translation, texts that are gone go. What is not translated is listed,
and shown in English until it is.
"""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from pathlib import Path

from babel.messages import Catalog
from babel.messages.extract import extract_from_dir
from babel.messages.pofile import read_po, write_po

from automatch.language.catalogue import ENGLISH, LANGUAGES, LOCALE_FOLDER

SOURCES = Path(__file__).parents[1] / "src" / "automatch"
_METHODS = [
    # Operators read English.
    ("web/console/**.py", "ignore"),
    ("cli/**.py", "ignore"),
    ("**.py", "python"),
    ("web/templates/console/**.html", "ignore"),
    ("**/templates/**.html", "jinja2"),
    ("**/templates/**.txt", "jinja2"),
]
_TEMPLATES = {"trimmed": "true", "trim_blocks": "true", "silent": "false", "encoding": "utf-8"}
_OPTIONS = {"**/templates/**.html": _TEMPLATES, "**/templates/**.txt": _TEMPLATES}
_KEYWORDS = {
    "_": None,
    "gettext": None,
    "gettext_noop": None,
    "text_field": None,
    "ngettext": (1, 2),
    "pgettext": ((1, "c"), 2),
    "npgettext": ((1, "c"), 2, 3),
}
# So that a change of a text changes nothing else in a file.
_ALWAYS = datetime(2026, 1, 1, tzinfo=UTC)


def extract_texts() -> Catalog:
    """Return all texts of the sources, without translations."""
    texts = Catalog(project="Auto-Match", fuzzy=False, creation_date=_ALWAYS)
    for file, _, message, comments, context in extract_from_dir(
        SOURCES, _METHODS, _OPTIONS, _KEYWORDS, comment_tags=("Translators:",)
    ):
        texts.add(message, locations=[(file, 0)], auto_comments=comments, context=context)
    return texts


def catalogue_of(language: str) -> Path:
    """Return the file of a language's translations."""
    return LOCALE_FOLDER / language / "LC_MESSAGES" / "messages.po"


def read_catalogue(language: str) -> Catalog:
    """Return a language's translations; none where there is no file yet."""
    path = catalogue_of(language)
    if not path.exists():
        return Catalog(language, project="Auto-Match", fuzzy=False)
    with path.open("rb") as file:
        return read_po(file, locale=language)


def list_untranslated(catalogue: Catalog) -> list[str]:
    """Return the texts that have no translation, or one that nobody has checked."""
    return [
        str(message.id if isinstance(message.id, str) else message.id[0])
        for message in catalogue
        if message.id and (message.fuzzy or not message.string or not all(message.string))
    ]


def main() -> int:
    """Update the catalogue of each language; return 1 if a translation is missing."""
    texts = extract_texts()
    missing = 0
    for language in LANGUAGES:
        if language == ENGLISH:
            continue
        catalogue = read_catalogue(language)
        catalogue.update(texts, no_fuzzy_matching=True, update_creation_date=False)
        catalogue.obsolete.clear()
        catalogue.creation_date = catalogue.revision_date = _ALWAYS
        path = catalogue_of(language)
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("wb") as file:
            write_po(file, catalogue, width=100, sort_by_file=True, include_lineno=False)
        untranslated = list_untranslated(catalogue)
        missing += len(untranslated)
        print(f"{path}: {len(catalogue)} texts, {len(untranslated)} without a translation")
        for text in untranslated:
            print(f"    {text}")
    return 1 if missing else 0


if __name__ == "__main__":
    sys.exit(main())
