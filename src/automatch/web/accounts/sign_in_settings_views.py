"""View model of the page with password, e-mail address and sessions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from automatch.web.language import text_field
from automatch.web.templating import Page

if TYPE_CHECKING:
    from collections.abc import Sequence

    from automatch.model.operators import Impersonation
    from automatch.model.people import UserSession


@dataclass(frozen=True, slots=True, kw_only=True)
class SignInSettingsPage(Page):
    """Password, e-mail address, and where the person is signed in."""

    template: ClassVar[str] = "sign_in_settings.html"
    section: ClassVar[str] = "profile"
    title: str = text_field("Password and sessions")
    signed_in: bool = True
    email: str
    is_confirmed: bool
    sends_mail: bool
    sessions: Sequence[UserSession]
    impersonations: Sequence[Impersonation]
    is_operator: bool = False
    """Whether the page leads to the console, too."""
