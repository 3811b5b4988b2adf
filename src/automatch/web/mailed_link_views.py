"""View models of the pages for mailed links: asking for one, a new password, sign-in, address."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from automatch.web.templating import Page


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
    old_email: str = ""
    """Of which little is shown: the link may have gone to a wrong address."""
    new_email: str = ""
    changed: bool = False
