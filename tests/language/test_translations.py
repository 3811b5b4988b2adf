"""The catalogues: as new as the sources, whole, and with the values and tags of the English."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from babel.messages import Catalog

import automatch
from automatch.language.catalogue import ENGLISH, LANGUAGES
from tools.catalogues import extract_texts, list_untranslated, read_catalogue

OTHERS = [language for language in LANGUAGES if language != ENGLISH]
SOURCES = Path(automatch.__file__).parent


@pytest.fixture(scope="module")
def texts() -> Catalog:
    return extract_texts()


@pytest.mark.parametrize("language", OTHERS)
def test_a_catalogue_has_the_texts_of_the_sources_and_no_others(
    texts: Catalog, language: str
) -> None:
    catalogue = read_catalogue(language)

    assert {message.id for message in catalogue} == {message.id for message in texts}, (
        "run `make catalogues`, and translate what it lists"
    )


@pytest.mark.parametrize("language", OTHERS)
def test_every_text_is_translated(language: str) -> None:
    assert list_untranslated(read_catalogue(language)) == []


@pytest.mark.parametrize("language", OTHERS)
def test_a_translation_takes_the_values_and_tags_of_its_text(language: str) -> None:
    wrong = []
    for message in read_catalogue(language):
        ids, strings = (
            [each] if isinstance(each, str) else list(each) for each in (message.id, message.string)
        )
        # A plural may leave its number out, as in "a day".
        wanted = _parts(ids[-1])
        wrong += [text for text in strings if message.id and _parts(text) != wanted]

    assert wrong == []


def _parts(text: str) -> list[str]:
    """Return the values and tags in a text; a value may be named more than once."""
    return sorted(set(re.findall(r"%\(\w+\)s|\{\w+\}|</?[a-z]+|%%", text)))


AWKWARD = [
    " % alike",
    "No look-alike at first",
    "is compared with it as they join",
    "people of your school can be found for you",
    "to be found for you",
    "Alike enough",
    "alike enough",
    "who can be found for you",
    "matched with the opposite one",
    "Choose one of the two",
    "Give the name that your look-alikes",
    "People you hide",
    "Nobody finds you until you say otherwise",
    "go away for good",
    "its sharpness is",
    "Four answers, then",
    "The photo ends in the face",
]
"""What pages said before somebody whose language it is read them."""


def test_no_page_says_again_what_sounded_foreign(texts: Catalog) -> None:
    said = [str(message.id) for message in texts]
    said += [path.read_text("utf-8") for path in (SOURCES / "web").rglob("*.html")]
    said += [path.read_text("utf-8") for path in (SOURCES / "web" / "static").glob("*.js")]

    assert [awkward for awkward in AWKWARD if any(awkward in text for text in said)] == []
