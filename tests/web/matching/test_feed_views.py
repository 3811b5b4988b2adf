"""The feed: its cards, and older pages."""

from __future__ import annotations

from html import unescape

import pytest
from jinja2 import Environment

from automatch.model.cases import CaseState
from automatch.model.faces import Face
from automatch.web.matching.feed_views import Card, render_card
from automatch.web.photos.own_photos import render_strip_photo
from automatch.web.protection.report_views import list_notices
from automatch.web.templating import (
    build_templates,
    render_page,
)
from tests.support.pages import (
    A_FACE,
    HOSTILE,
    NOON,
    a_card,
    a_case,
    a_feed_page,
    a_job,
    an_entry,
    an_id,
    text_of,
)


@pytest.fixture(scope="module")
def templates() -> Environment:
    return build_templates()


def test_hostile_name_stays_text_on_a_card(templates: Environment) -> None:
    html = render_card(templates, a_card(name=HOSTILE))

    assert "<script" not in html
    assert "<img src=x" not in html
    assert HOSTILE in unescape(html)


def test_card_says_the_similarity_as_rounded_percent(
    templates: Environment,
) -> None:
    html = render_card(templates, a_card(similarity=0.15000000000000002))

    assert "15% alike" in text_of(html)
    assert 'data-announce="Linh T., 15%"' in html


def test_card_does_not_say_how_alike_two_people_at_the_top_are(templates: Environment) -> None:
    assert "95%+ alike" in text_of(render_card(templates, a_card(similarity=0.95)))


def test_only_a_simulated_person_is_marked_as_such(templates: Environment) -> None:
    assert "Simulated" in text_of(render_card(templates, a_card(simulated=True)))
    assert "Simulated" not in text_of(render_card(templates, a_card()))


def test_entry_whose_match_is_gone_has_no_card() -> None:
    assert Card.from_entry(an_entry(match_id=None)) is None


def test_page_and_stream_show_the_same_card_and_job(templates: Environment) -> None:
    card, job = a_card(), a_job()

    html = render_page(templates, a_feed_page(cards=[card], jobs=[job]))

    assert render_card(templates, card) in html
    assert render_strip_photo(templates, job) in html


def test_photo_is_listed_once_with_or_without_its_job() -> None:
    page = a_feed_page(jobs=[a_job()], faces=[Face(an_id(4), NOON, "dlib", {}), A_FACE])

    assert page.faces_without_job == [A_FACE]


def test_feed_without_uploads_says_why_and_leads_to_the_profile(templates: Environment) -> None:
    page = a_feed_page(uploads_allowed=False, uploads_refused_reason="Give your consent first.")

    html = render_page(templates, page)

    assert "Give your consent first." in text_of(html)
    assert 'type="file"' not in html
    assert 'href="/profile/consent"' in html


def test_notice_says_in_whole_sentences_what_somebody_asked(templates: Environment) -> None:
    case = a_case(effect="hidden", state=CaseState.OPEN, decision=None)

    text = text_of(render_page(templates, a_feed_page(notices=list_notices([case]))))

    assert "Somebody asked whether this is you, and we're looking at it." in text
    assert "Nothing is deleted. Tell us your side" in text


def test_page_further_back_is_neither_live_nor_for_uploads(templates: Environment) -> None:
    html = render_page(templates, a_feed_page(is_newest=False, cards=[a_card()]))

    assert "upload.js" not in html
    assert "feed.js" not in html
    assert 'type="file"' not in html
