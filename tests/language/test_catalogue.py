"""Which language somebody reads, and the texts in it."""

from __future__ import annotations

from dataclasses import dataclass
from gettext import NullTranslations

import pytest
from jinja2 import Environment

from automatch.language import catalogue
from automatch.language.catalogue import (
    choose_language,
    gettext,
    ngettext,
    read_accept_language,
    speaking,
    text_field,
)
from automatch.language.templates import install_texts


class LoudTexts(NullTranslations):
    def gettext(self, message: str) -> str:
        return message.upper().replace("%(NAME)S", "%(name)s")

    def ngettext(self, msgid1: str, msgid2: str, n: int) -> str:
        return f"{n % 10}: %(num)s"


@pytest.fixture
def loud(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = catalogue.load_texts
    monkeypatch.setattr(
        catalogue, "load_texts", lambda tag: LoudTexts() if tag == "loud" else plain(tag)
    )


@pytest.mark.parametrize(
    ("header", "language"),
    [
        ("vi", "vi"),
        ("vi-VN,vi;q=0.9,en;q=0.8", "vi"),
        ("en;q=0.5, vi;q=0.9", "vi"),
        ("fr, de", "en"),
        ("fr, vi;q=0.1", "vi"),
        ("vi;q=0, en", "en"),
        ("", "en"),
        (";;;q=,,", "en"),
    ],
)
def test_the_first_language_of_a_browser_that_there_is_is_chosen(
    header: str, language: str
) -> None:
    assert choose_language(read_accept_language(header)) == language


@pytest.mark.usefixtures("loud")
def test_a_text_is_in_the_language_that_is_spoken_and_takes_its_values() -> None:
    with speaking("loud"):
        assert gettext("hello %(name)s", name="An") == "HELLO An"
        assert ngettext("one", "many", 12) == "2: 12"

    assert gettext("hello %(name)s", name="An") == "hello An"
    assert gettext("100%") == "100%"
    assert ngettext("one face", "%(num)s faces", 2) == "2 faces"


@pytest.mark.usefixtures("loud")
def test_a_text_of_a_view_model_is_in_the_language_it_is_made_in() -> None:
    @dataclass
    class Page:
        title: str = text_field("profile")

    with speaking("loud"):
        assert Page().title == "PROFILE"
    assert Page().title == "profile"


@pytest.mark.usefixtures("loud")
def test_a_template_speaks_the_language_it_is_rendered_in_and_escapes_values() -> None:
    templates = Environment(autoescape=True, extensions=["jinja2.ext.i18n"])
    install_texts(templates)
    template = templates.from_string(
        "{{ language() }} {% trans name='<b>' %}\n  to\n  {{ name }}\n{% endtrans %}"
        " {% trans count=12 %}a{% pluralize %}b{% endtrans %}"
    )

    with speaking("loud"):
        loud = template.render()

    assert loud == "loud TO &lt;b&gt; 2: 12"
    assert template.render() == "en to &lt;b&gt; b"
