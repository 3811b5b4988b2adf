"""The pages of the profile: each is given what it shows, and loads nothing else."""

from __future__ import annotations

from dataclasses import replace

import pytest

from automatch.services.people.profiles import ProfileShown
from automatch.web.people.profile_views import (
    CardPreviewPage,
    ConsentPage,
    HiddenPeoplePage,
    LanguagePage,
    PhotoViewsPage,
    ProfilePage,
    VisibilityPage,
)
from automatch.web.templating import build_templates, render_page
from tests.support.pages import a_profile_page


class Recorder:
    """Passes on what a page reads, and remembers of which part."""

    def __init__(self, shown: ProfileShown) -> None:
        self._shown = shown
        self.read: set[str] = set()

    def __getattr__(self, name: str) -> object:
        self.read.add(name)
        return getattr(self._shown, name)


@pytest.mark.parametrize(
    "kind",
    [
        ProfilePage,
        CardPreviewPage,
        VisibilityPage,
        HiddenPeoplePage,
        PhotoViewsPage,
        LanguagePage,
        ConsentPage,
    ],
)
def test_each_page_is_given_what_it_shows_and_nothing_else(kind: type[ProfilePage]) -> None:
    page = a_profile_page(kind)
    recorder = Recorder(page.shown)

    render_page(build_templates(), replace(page, shown=recorder))

    assert recorder.read - {"profile", "consent"} == set(kind.shows)
