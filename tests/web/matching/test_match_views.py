"""The page of a look-alike: two faces at one size, and what the percentage says."""

from __future__ import annotations

import re
from html import unescape
from urllib.parse import urlencode, urlsplit
from uuid import UUID

import pytest
from fastapi import Request
from jinja2 import Environment

from automatch.model.faces import EyePlaces
from automatch.model.matches import FeedOrder
from automatch.services.matching.matches import MatchView
from automatch.web.matching.match_views import AlignedFace, MatchPage
from automatch.web.pages import onward_from
from automatch.web.templating import build_templates, render_page
from tests.support.pages import a_match, a_match_page, an_id, text_of


@pytest.fixture(scope="module")
def templates() -> Environment:
    return build_templates()


@pytest.mark.parametrize(
    "eyes",
    [
        EyePlaces((0.4, 0.3), (0.6, 0.3), 1.5, (0.1, 0.05, 0.8)),
        EyePlaces((0.31, 0.52), (0.36, 0.44), 0.75, (0.2, 0.3, 0.3)),
        EyePlaces((0.1, 0.2), (0.9, 0.4), 1, (0, 0, 1)),
    ],
)
def test_eyes_of_every_photo_lie_at_the_same_places(eyes: EyePlaces) -> None:
    face = AlignedFace.of(an_id(3), eyes)

    a, b, c, d, e, f = map(float, re.findall(r"-?[\d.]+", face.transform))
    drawn = [
        (a * 1000 * x + c * 1000 * y + e, b * 1000 * x + d * 1000 * y + f)
        for x, y in (eyes.left, eyes.right)
    ]
    assert drawn == [pytest.approx((142, 212), abs=0.2), pytest.approx((258, 212), abs=0.2)]
    # Turned and scaled, and neither mirrored nor stretched.
    assert (a, b) == (d, -c)


@pytest.mark.parametrize("eyes", [None, EyePlaces((0.4, 0.3), (0.4, 0.3), 1, (0, 0, 1))])
def test_photo_with_no_known_eyes_fills_the_frame_with_its_thumbnail(
    templates: Environment, eyes: EyePlaces | None
) -> None:
    html = render_page(templates, a_match_page(eyes=eyes, own_eyes=eyes))

    assert re.findall(r'<image href="([^"]+)" x="0" y="0" width="500" height="500"', html) == [
        f"/photos/{an_id(4)}?size=thumb",
        f"/photos/{an_id(3)}?size=thumb",
    ]
    assert "size=full" not in html


def test_page_shows_both_whole_photos_over_their_thumbnails_and_names_them(
    templates: Environment,
) -> None:
    html = render_page(templates, a_match_page())

    assert re.findall(r'<image href="([^"]+)"', html) == [
        f"/photos/{an_id(face)}?size={size}" for face in (4, 3) for size in ("thumb", "full")
    ]
    assert re.findall(r'role="img" aria-label="([^"]+)"', html) == [
        "Your photo",
        "Photo of Linh T.",
    ]


@pytest.mark.parametrize(
    ("similarity", "words"),
    [
        (0.59, "59% A bit alike"),
        (0.6, "60% Clearly alike"),
        (0.74, "74% Clearly alike"),
        (0.75, "75% Very alike"),
        (0.89, "89% Very alike"),
        (0.9, "90% Strikingly alike"),
        (0.95, "95% or more Strikingly alike"),
    ],
)
def test_percentage_is_said_in_words_and_never_as_who_somebody_is(
    templates: Environment, similarity: float, words: str
) -> None:
    text = text_of(render_page(templates, a_match_page(similarity=similarity)))

    assert words in text
    assert "You two see each other because that's 50% or more." in text
    assert "not that they show the same person, and not that you're related" in text


def test_page_leads_on_in_the_order_in_which_it_was_found(templates: Environment) -> None:
    html = render_page(templates, a_match_page(FeedOrder("new", "best")))

    assert f'href="/matches/{an_id(8)}?show=new&amp;sort=best&amp;since=7"' in html
    assert 'id="back" href="/feed?show=new&amp;sort=best"' in html
    assert 'rel="prev"' not in html


def test_page_of_the_usual_order_has_a_short_address(templates: Environment) -> None:
    html = render_page(templates, a_match_page())

    assert f'href="/matches/{an_id(8)}"' in html
    assert 'id="back" href="/feed"' in html


@pytest.mark.parametrize("mutual", [True, False])
def test_whoever_likes_each_other_is_led_to_what_they_share(
    templates: Environment, mutual: bool
) -> None:
    html = render_page(templates, a_match_page(liked=True, mutual=mutual))

    assert ('href="/profile/share"' in html) is mutual


@pytest.mark.parametrize(
    ("next_id", "previous_id", "onward"),
    [
        (an_id(8), an_id(9), f"/matches/{an_id(8)}?show=new&since=7"),
        (None, an_id(9), f"/matches/{an_id(9)}?show=new&since=7"),
        (None, None, "/feed?show=new"),
    ],
)
def test_hiding_somebody_leads_on_to_the_next_one(
    templates: Environment, next_id: UUID | None, previous_id: UUID | None, onward: str
) -> None:
    view = MatchView(a_match(), previous_id=previous_id, next_id=next_id, new_count=0)
    html = render_page(templates, MatchPage.from_view(view, FeedOrder("new"), since=7))

    for path in (f"/matches/{an_id(2)}/dismiss", f"/people/{an_id(1)}/block"):
        [address] = re.findall(rf'action="({path}[^"]*)"', html)
        assert onward_from(a_request(address)) == onward


@pytest.mark.parametrize(
    "to",
    ["//evil.example/feed", "https://evil.example", "/feed/../admin", "/feedback", "/feed?a=//b",
     "/matches/x", "/feed?x=1\r\nset-cookie: a=b", ""],
)  # fmt: skip
def test_nobody_is_led_on_to_another_site_or_page(to: str) -> None:
    assert onward_from(a_request("/people/1/block?" + urlencode({"to": to}))) == ""


def a_request(address: str) -> Request:
    url = urlsplit(unescape(address))
    return Request({"type": "http", "path": url.path, "query_string": url.query.encode()})
