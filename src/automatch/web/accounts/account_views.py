"""View models of the account pages: sign-in, sign-up, profile and consent."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Self

from automatch.web.language import text_field
from automatch.web.templating import Page

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import date

    from automatch.model.people import Consent, Profile
    from automatch.model.schools import Membership


@dataclass(frozen=True, slots=True, kw_only=True)
class SignInPage(Page):
    """E-mail and password."""

    template: ClassVar[str] = "sign_in.html"
    title: str = text_field("Sign in")
    email: str = ""
    """The address as typed, so that only the password must be typed again."""
    sends_mail: bool = False
    """Whether a new account has to be confirmed by mail first."""
    to: str = ""
    """The page of the console that was asked for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SignUpPage(Page):
    """E-mail and a new password; everything else is asked for on the profile page."""

    template: ClassVar[str] = "sign_up.html"
    title: str = text_field("Create an account")
    email: str = ""
    sends_mail: bool = False
    """Whether the password is chosen later, by a mailed link."""
    asked: bool = False
    """Whether the link was mailed just now."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JoinPage(Page):
    """Where an invitation leads, for somebody who is not signed in."""

    template: ClassVar[str] = "join.html"
    title: str = text_field("You're invited")
    school: str


@dataclass(frozen=True, slots=True)
class ProfileForm:
    """The profile fields as typed, valid or not; the names are those of the form fields."""

    name: str = ""
    school: str = ""
    gender: str = ""
    birth_date: str = ""
    """`YYYY-MM-DD`, as a date field sends it."""
    code: str = ""
    """An invitation code, of the link that the person opened."""

    @classmethod
    def from_profile(cls, profile: Profile) -> Self:
        """Return the fields as they were saved."""
        return cls(
            name=profile.name or "",
            school=profile.school or "",
            gender=profile.gender.value if profile.gender else "",
            birth_date=profile.birth_date.isoformat() if profile.birth_date else "",
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class OnboardingPage(Page):
    """The profile and the consent, for new people."""

    template: ClassVar[str] = "onboarding.html"
    section: ClassVar[str] = "profile"
    title: str = text_field("Tell us about yourself")
    signed_in: bool = True
    form: ProfileForm
    is_complete: bool = False
    """Whether everything was answered before."""
    consent: Consent
    latest_birth_date: date
    """The birth date of a person who turns 18 today."""
    schools: Sequence[str] = ()
    """The schools to choose from."""
    membership: Membership | None = None
    """How far the person is with the school they chose."""
    message: str = ""
    """What the person typed to ask an operator with."""
    sends_mail: bool = False
    """Whether an operator's answer is mailed."""
    is_operator: bool = False
    """Whether the page leads to the console, too."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DetailsPage(OnboardingPage):
    """Name, school, gender and birth date, to change them."""

    template: ClassVar[str] = "profile_details.html"
    title: str = text_field("About you")


@dataclass(frozen=True, slots=True, kw_only=True)
class MembershipPage(OnboardingPage):
    """How far the person is with their school, and leaving it."""

    template: ClassVar[str] = "profile_school.html"
    title: str = text_field("Your school")
