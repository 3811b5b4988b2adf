"""All pages: escaping, ids, static files, and what the content security policy forbids."""

from __future__ import annotations

import json
import re
from dataclasses import replace

import pytest
from jinja2 import Environment, UndefinedError

from automatch.web.accounts.account_views import SignInPage
from automatch.web.templating import (
    STATIC_FOLDER,
    build_templates,
    render_page,
)
from tests.support.pages import (
    PAGES,
    a_card,
    a_job,
)


@pytest.fixture(scope="module")
def templates() -> Environment:
    return build_templates()


@pytest.mark.parametrize("name", PAGES)
def test_every_page_renders_whole_and_escaped(templates: Environment, name: str) -> None:
    html = render_page(templates, PAGES[name])

    assert html.startswith("<!doctype html>")
    assert html.count("<h1>") == 1
    assert "</html>" in html
    assert "alert(1)</script>" not in html
    assert "<img src=x" not in html


@pytest.mark.parametrize("name", PAGES)
def test_no_page_has_inline_style_or_script(templates: Environment, name: str) -> None:
    html = render_page(templates, PAGES[name])

    assert not re.search(
        r"<[^>]*\sstyle=|<style|<[^>]*\son\w+=\"|<script(?![^>]*\s(?:src=|type=\"application/json\"))",
        html,
    )


@pytest.mark.parametrize("name", PAGES)
def test_every_id_a_page_refers_to_is_there_once(templates: Environment, name: str) -> None:
    if "cards" in type(PAGES[name]).__slots__:
        page = replace(PAGES[name], cards=[a_card()], jobs=[a_job()])
    else:
        page = PAGES[name]

    html = render_page(templates, page)

    ids = re.findall(r'\sid="([^"]*)"', html)
    references = re.findall(r'\s(?:for|aria-describedby|aria-labelledby)="([^"]*)"', html)
    assert len(ids) == len(set(ids))
    assert {id_ for reference in references for id_ in reference.split()} <= set(ids)


@pytest.mark.parametrize("name", PAGES)
def test_every_static_file_a_page_names_exists(templates: Environment, name: str) -> None:
    addresses = re.findall(r'"/static/[0-9a-f]{12}/([^"]+)"', render_page(templates, PAGES[name]))

    assert "app.css" in addresses
    assert all((STATIC_FOLDER / address).is_file() for address in addresses)


def test_no_text_of_a_script_ends_its_block(templates: Environment) -> None:
    block = templates.from_string("{{ script_texts({'hi': name}) }}").render(name="</script><b>Ạ")

    assert re.fullmatch(r"<script [^<]*</script>", block)
    assert json.loads(block.split(">", 1)[1].removesuffix("</script>")) == {"hi": "</script><b>Ạ"}


def test_a_name_that_a_template_does_not_have_is_an_error(templates: Environment) -> None:
    with pytest.raises(UndefinedError):
        templates.from_string("{{ page.nothing }}").render(page=SignInPage())


def test_thumbnail_of_an_own_photo_is_shown_whole_because_its_place_is_square() -> None:
    css = "\n".join(sheet.read_text() for sheet in STATIC_FOLDER.glob("*.css"))
    rules = re.findall(r"^\.thumb {([^}]*)}", css, re.M)

    assert len(rules) == 1
    assert "aspect-ratio: 1;" in rules[0]


def test_static_files_stay_small() -> None:
    shared = sum((STATIC_FOLDER / name).stat().st_size for name in ("tokens.css", "app.css"))
    assert shared < 26_000
    assert len((STATIC_FOLDER / "feed.js").read_text().splitlines()) < 110
    assert len((STATIC_FOLDER / "upload.js").read_text().splitlines()) < 190
    assert sum(script.stat().st_size for script in STATIC_FOLDER.glob("*.js")) < 72_000
