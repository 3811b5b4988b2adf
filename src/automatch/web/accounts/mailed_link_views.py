"""View models of the pages for mailed links: asking for one, using one, change of address."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from automatch.web.language import text_field
from automatch.web.templating import Page


@dataclass(frozen=True, slots=True, kw_only=True)
class ForgotPasswordPage(Page):
    """Ask for a link to choose a new password; then what happens next."""

    template: ClassVar[str] = "forgot_password.html"
    title: str = text_field("Forgot your password?")
    email: str = ""
    asked: bool = False
    sends_mail: bool = True
    """Whether the link is mailed, and does not wait for an operator to hand it over."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MailedLinkPage(Page):
    """A button to sign in by the token of a mailed link, with a new password for some."""

    template: ClassVar[str] = "mailed_link.html"
    path: str
    token: str
    email: str
    asks_password: bool
    signs_out: bool = False
    """Whether somebody may be signed in elsewhere, which a new password ends."""
    instead_of: str = ""
    """The id of another account that is signed in here, and is signed out by the link."""
    instead_of_email: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfirmEmailPage(Page):
    """Confirm a change of the address at one of the two; then what is left to do."""

    template: ClassVar[str] = "confirm_email.html"
    title: str = text_field("Your new e-mail address")
    token: str = ""
    old_email: str = ""
    """Of which little is shown: the link may have gone to a wrong address."""
    new_email: str = ""
    changed: bool = False
