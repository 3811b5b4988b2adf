"""View models of the profile: its list of subjects, and a page for each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from automatch.web.language import gettext as _
from automatch.web.language import ngettext, text_field
from automatch.web.protection.data_views import describe_views
from automatch.web.templating import Page, photo_address

if TYPE_CHECKING:
    from automatch.services.people.profiles import ProfileShown


@dataclass(frozen=True, slots=True, kw_only=True)
class ProfilePage(Page):
    """All subjects, each a row with how it is now."""

    template: ClassVar[str] = "profile.html"
    shows: ClassVar[tuple[str, ...]] = ("membership", "photo", "share", "hidden_people", "views")
    """What `load_shown` loads for it."""
    section: ClassVar[str] = "profile"
    title: str = text_field("Your profile")
    signed_in: bool = True
    shown: ProfileShown
    is_operator: bool = False
    """Whether the list leads to the console, too."""

    @property
    def name(self) -> str:
        return self.shown.profile.name or _("Someone")

    @property
    def photo(self) -> str | None:
        """Address of the photo that others are shown."""
        return photo_address(self.shown.photo.id) if self.shown.photo else None

    @property
    def visibility(self) -> str:
        """Who sees the person, in a word or two."""
        membership = self.shown.membership
        if membership is None or not membership.admitted:
            return _("Not yet")
        return _("On") if self.shown.profile.discoverable else _("Hidden")

    @property
    def consent(self) -> str:
        """Whether the consent stands."""
        if self.shown.consent.is_current:
            return _("Given")
        return _("Read again") if self.shown.consent.outdated else _("Not given")

    @property
    def hidden(self) -> str:
        """How many people the person hides."""
        count = len(self.shown.hidden_people)
        return ngettext("%(num)s person", "%(num)s people", count) if count else _("Nobody")

    @property
    def views(self) -> str:
        """How many people were shown the photos, for the row."""
        count = self.shown.views.people_this_month
        match count:
            case "0":
                return _("Nobody yet")
            case "1-2":
                return _("1 or 2 people")
            case _many:
                return _("%(count)s people", count=count)

    @property
    def this_week(self) -> str:
        return describe_views(self.shown.views)[0]

    @property
    def this_month(self) -> str:
        return describe_views(self.shown.views)[1]


@dataclass(frozen=True, slots=True, kw_only=True)
class CardPreviewPage(ProfilePage):
    """What others see of the person."""

    template: ClassVar[str] = "profile_card.html"
    shows: ClassVar[tuple[str, ...]] = ("photo", "share")
    title: str = text_field("How others see you")


@dataclass(frozen=True, slots=True, kw_only=True)
class VisibilityPage(ProfilePage):
    """Whether others find the person, and what hiding does."""

    template: ClassVar[str] = "profile_visibility.html"
    shows: ClassVar[tuple[str, ...]] = ("membership",)
    title: str = text_field("Being found")


@dataclass(frozen=True, slots=True, kw_only=True)
class HiddenPeoplePage(ProfilePage):
    """Whom the person blocked or dismissed."""

    template: ClassVar[str] = "profile_hidden.html"
    shows: ClassVar[tuple[str, ...]] = ("hidden_people",)
    title: str = text_field("Hidden people")


@dataclass(frozen=True, slots=True, kw_only=True)
class PhotoViewsPage(ProfilePage):
    """How many people saw the person's photos."""

    template: ClassVar[str] = "profile_views.html"
    shows: ClassVar[tuple[str, ...]] = ("views", "weeks")
    title: str = text_field("Who saw your photos")


@dataclass(frozen=True, slots=True, kw_only=True)
class LanguagePage(ProfilePage):
    """The language of the person's pages and mails."""

    template: ClassVar[str] = "profile_language.html"
    shows: ClassVar[tuple[str, ...]] = ()
    title: str = text_field("Language")


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsentPage(ProfilePage):
    """What the person agreed to, with its text, or is asked to agree to."""

    template: ClassVar[str] = "profile_consent.html"
    shows: ClassVar[tuple[str, ...]] = ("consents",)
    title: str = text_field("Your consent")


@dataclass(frozen=True, slots=True, kw_only=True)
class SharePage(Page):
    """A sentence and a handle, for whom the person likes and is liked by."""

    template: ClassVar[str] = "profile_share.html"
    section: ClassVar[str] = "profile"
    title: str = text_field("What you share")
    signed_in: bool = True
    sentence: str = ""
    handle: str = ""
