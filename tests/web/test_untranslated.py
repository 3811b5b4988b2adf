"""No page shows people a text that is outside the catalogues."""

from __future__ import annotations

import ast
import re
import runpy
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import pytest
from jinja2 import Environment

from automatch.language import catalogue
from automatch.language.catalogue import LANGUAGES, speaking
from automatch.mail import message
from automatch.web.templating import STATIC_FOLDER, Page, build_templates, render_page
from tests.support import pages
from tests.support.loud_texts import LoudTexts

TEMPLATES = STATIC_FOLDER.parent / "templates"
NAMES = [name for name in pages.PAGES if not name.startswith(("console", "style guide"))]
_SHOWN = {"alt", "title", "aria-label", "placeholder", "data-announce"}
"""Attributes that people read or hear."""
_UNSEEN = {"script", "style", "textarea"}
_OURS = {"Auto-Match", "UTC", "Linh T.", "An", "North", *LANGUAGES.values()}
"""Names, which are the same in every language."""


class Outside(HTMLParser):
    """Collects text that is in no brackets."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self._open = 0
        self._unseen = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._unseen += tag in _UNSEEN
        for name, value in attrs:
            if name in _SHOWN and value:
                self._note(value)

    def handle_endtag(self, tag: str) -> None:
        self._unseen -= tag in _UNSEEN

    def handle_data(self, data: str) -> None:
        if not self._unseen:
            self._note(data)

    def _note(self, text: str) -> None:
        # A text may hold tags, so its brackets may open in one part and close in another.
        outside = ""
        for char in text:
            if char == "⟦":
                self._open += 1
            elif char == "⟧":
                self._open -= 1
            elif not self._open:
                outside += char
        for known in sorted([*_KNOWN, *_OURS], key=len, reverse=True):
            outside = outside.replace(known, " ")
        # Two letters: units, languages and places of a page have fewer.
        if re.search(r"[A-Za-zÀ-ỹ]{2}", outside):
            self.found.append(" ".join(outside.split()))


_KNOWN = [
    pages.HOSTILE,
    *("an@example.org", "asked for help", "Xin chào", "I agree.", "Wrong.", "2026-11"),
    *("Photos", "30 days", "Choose a new password", "Confirm your address", "May"),
]
"""What the pages of these tests are filled with: names, reasons and texts of operators."""


@pytest.fixture(scope="module")
def loud() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(catalogue, "load_texts", lambda _: LoudTexts())
        yield


def outside(html: str) -> list[str]:
    parser = Outside()
    parser.feed(html)
    return parser.found


@pytest.fixture(scope="module")
def templates() -> Environment:
    return build_templates()


@pytest.fixture(scope="module")
def loud_pages(loud: None) -> Iterator[dict[str, Page]]:
    """Give the pages of `pages.PAGES`, made anew in the language of brackets."""
    with speaking("vi"):
        yield runpy.run_path(pages.__file__)["PAGES"]


@pytest.mark.parametrize("name", NAMES)
def test_no_page_has_text_outside_the_catalogues(
    templates: Environment, loud_pages: dict[str, Page], name: str
) -> None:
    with speaking("vi"):
        html = render_page(templates, loud_pages[name])

    assert outside(html) == []


def literals(path: Path) -> list[str]:
    """Return the texts of a template's own HTML that people would read."""
    text = re.sub(r"\{#.*?#\}", "", path.read_text("utf-8"), flags=re.S)
    text = re.sub(
        r"\{% block main_class %\}[^{]*|\{% macro describe.*?endmacro", "", text, flags=re.S
    )
    text = re.sub(r"\{%-?\s*trans\b.*?endtrans\s*-?%\}", "", text, flags=re.S)
    text = re.sub(r"\{\{ server \}\}[/\w-]*|\{\{.*?\}\}|\{%.*?%\}", "", text, flags=re.S)
    return outside(text)


STUDENT_TEMPLATES = sorted(
    path
    for path in TEMPLATES.rglob("*.html")
    if "console" not in path.parts and path.name != "styleguide.html"
)


@pytest.mark.parametrize("path", STUDENT_TEMPLATES, ids=lambda path: path.name)
def test_no_template_has_text_outside_the_catalogues(path: Path) -> None:
    assert literals(path) == []


MAILS = sorted((Path(message.__file__).parent / "templates").iterdir())


@pytest.mark.parametrize("path", MAILS, ids=lambda path: path.name)
def test_no_mail_has_text_outside_the_catalogues(path: Path) -> None:
    assert literals(path) == []


SCRIPTS = sorted(
    path
    for path in STATIC_FOLDER.glob("*.js")
    if path.name not in {"chart.js", "console_refresh.js"}
)


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)
def test_no_script_has_text_of_its_own(path: Path) -> None:
    code = re.sub(r"^\s*(//|\*|/\*).*$", "", path.read_text("utf-8"), flags=re.M)
    strings = re.findall(r"\"((?:[^\"\\\n])*)\"|`([^`]*)`", code)
    said = [
        text
        for pair in strings
        for text in pair
        if re.search(r"[A-Z][a-z']+ [a-z]|\w+ \w+ \w+[.?]", text)
    ]

    assert said == []


_FOR_DEVELOPERS = {"Style guide"}
VIEWS = sorted(
    path
    for path in STATIC_FOLDER.parent.rglob("*.py")
    if path.name.endswith(("_pages.py", "_views.py"))
    or path.stem in {"own_photos", "pages", "undo", "face_picker", "refusals"}
)
_MARKS = {"_", "gettext", "ngettext", "pgettext", "npgettext", "gettext_noop", "text_field"}
_NOT_SHOWN = re.compile(r".*(Error|ValueError)$|^(getLogger|info|warning|compile)$")
"""Calls whose texts no page shows: a page has sentences of its own for errors."""


def unmarked(path: Path) -> list[str]:
    """Return the sentences of a module that are neither marked, nor a docstring, nor an error's."""
    tree = ast.parse(path.read_text("utf-8"))
    skipped: set[int] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            skipped.add(id(node.value))
        if isinstance(node, ast.Call):
            name = getattr(node.func, "id", getattr(node.func, "attr", ""))
            if name in _MARKS or _NOT_SHOWN.match(name):
                skipped |= {id(inner) for each in node.args for inner in ast.walk(each)}
    return [
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant)
        and isinstance(node.value, str)
        and id(node) not in skipped
        and node.value not in _FOR_DEVELOPERS
        and re.match(r"[A-Z][\w']*( [\w'%]+|\.$)", node.value)
    ]


@pytest.mark.parametrize("path", VIEWS, ids=lambda path: path.name)
def test_no_view_has_a_sentence_outside_the_catalogues(path: Path) -> None:
    assert unmarked(path) == []
