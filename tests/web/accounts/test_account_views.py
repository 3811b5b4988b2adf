"""The account pages: errors at their field, and the consent."""

from __future__ import annotations

import re

import pytest
from jinja2 import Environment

from automatch.web.accounts.account_views import SignUpPage
from automatch.web.people.profile_views import ConsentPage
from automatch.web.templating import (
    Problem,
    build_templates,
    render_page,
)
from tests.support.pages import a_consent, a_profile_page, an_onboarding_page


@pytest.fixture(scope="module")
def templates() -> Environment:
    return build_templates()


def test_field_error_is_tied_to_its_field(templates: Environment) -> None:
    problem = Problem("password_weak", "Choose a longer one.", "password")

    html = render_page(templates, SignUpPage(problem=problem))

    field = re.search(r'<input id="password"[^>]*>', html)
    assert field is not None
    assert 'aria-describedby="password-hint password-error"' in field[0]
    assert 'aria-invalid="true"' in field[0]
    assert '<p class="field-error" id="password-error">Choose a longer one.</p>' in html


def test_consent_is_never_ticked_beforehand(templates: Environment) -> None:
    html = render_page(templates, an_onboarding_page())

    box = re.search(r'<input type="checkbox"[^>]*>', html)
    assert box is not None
    assert 'value="2026-11"' in box[0]
    assert "checked" not in box[0]
    assert "/consent/withdraw" not in html


def test_given_consent_can_be_withdrawn_and_not_given_again(templates: Environment) -> None:
    html = render_page(templates, a_profile_page(ConsentPage, consent=a_consent(granted=True)))

    assert 'href="/consent/withdraw"' in html
    assert 'name="consent"' not in html
