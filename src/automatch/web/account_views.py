"""View models of the account pages: sign-in, sign-up, profile and consent."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Self

from automatch.web.templating import Page

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import date

    from automatch.model.people import Consent, HiddenPerson, Profile, UserSession


@dataclass(frozen=True, slots=True, kw_only=True)
class SignInPage(Page):
    """E-mail and password."""

    template: ClassVar[str] = "sign_in.html"
    title: str = "Sign in"
    email: str = ""
    """The address as typed, so that only the password must be typed again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SignUpPage(Page):
    """E-mail and a new password; everything else is asked for on the profile page."""

    template: ClassVar[str] = "sign_up.html"
    title: str = "Create an account"
    email: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ForgotPasswordPage(Page):
    """Ask for a link to choose a new password; then what happens next."""

    template: ClassVar[str] = "forgot_password.html"
    title: str = "Forgot your password?"
    email: str = ""
    asked: bool = False
    sends_mail: bool = True
    """Whether the link is mailed, and does not wait for an operator to hand it over."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ResetPasswordPage(Page):
    """A new password, by the token of a mailed link."""

    template: ClassVar[str] = "reset_password.html"
    title: str = "Choose a new password"
    token: str
    email: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SignInLinkPage(Page):
    """A button to sign in, by the token of a mailed link."""

    template: ClassVar[str] = "sign_in_link.html"
    title: str = "Sign in"
    token: str
    email: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfirmEmailPage(Page):
    """Confirm a change of the address at one of the two; then what is left to do."""

    template: ClassVar[str] = "confirm_email.html"
    title: str = "Change of your e-mail address"
    token: str = ""
    changed: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class SignInSettingsPage(Page):
    """A new password, and where the person is signed in."""

    template: ClassVar[str] = "sign_in_settings.html"
    section: ClassVar[str] = "profile"
    title: str = "Password and sessions"
    signed_in: bool = True
    email: str
    sessions: Sequence[UserSession]


@dataclass(frozen=True, slots=True)
class ProfileForm:
    """The profile fields as typed, valid or not; the names are those of the form fields."""

    name: str = ""
    school: str = ""
    gender: str = ""
    birth_date: str = ""
    """`YYYY-MM-DD`, as a date field sends it."""

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
    """The profile and the consent, for new people and for changes."""

    template: ClassVar[str] = "onboarding.html"
    section: ClassVar[str] = "profile"
    title: str = "Your profile"
    signed_in: bool = True
    form: ProfileForm
    consent: Consent
    latest_birth_date: date
    """The birth date of a person who turns 18 today."""
    schools: Sequence[str] = ()
    """Suggestions while typing the school."""
    hidden: Sequence[HiddenPerson] = ()
    """People whom the person dismissed or blocked."""
    discoverable: bool = True
    """Whether others can find the person; False while paused."""
    first_time: bool = False
    saved: bool = False
    """Whether the profile was saved just now."""
