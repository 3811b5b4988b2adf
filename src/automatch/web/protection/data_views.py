"""View models of the pages about one's own data: what is kept, withdrawing, and leaving."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from automatch.web.language import gettext as _
from automatch.web.language import ngettext, text_field
from automatch.web.templating import Page

if TYPE_CHECKING:
    from collections.abc import Sequence

    from automatch.settings.storage import RetentionSettings
    from automatch.store.photos.photo_views import PhotoViewCounts


@dataclass(frozen=True, slots=True)
class KeptFor:
    """Something that is kept, and how long."""

    what: str
    how_long: str


_YEAR, _MONTH = 365.0, 30.0


def list_retention(retention: RetentionSettings, session_s: float) -> list[KeptFor]:
    """Return what the page says about how long things are kept."""
    return [
        KeptFor(_("Your profile and photos"), _as_long_as_used(retention)),
        KeptFor(
            _("Your matches"),
            _for(retention.matches_days)
            if retention.matches_days
            else _("as long as both photos exist"),
        ),
        KeptFor(_("Photos we couldn't use"), _for(retention.refused_uploads_s / 86400)),
        KeptFor(_("How each photo's search went"), _for(retention.jobs_days)),
        KeptFor(_("Who was shown which photo"), _for(retention.photo_views_days)),
        KeptFor(
            _("Where you're signed in"),
            _("%(time)s after your last visit", time=_for(session_s / 86400)),
        ),
        KeptFor(_("What operators did, and why"), _for(retention.audit_log_days)),
    ]


def _as_long_as_used(retention: RetentionSettings) -> str:
    if not retention.inactive_days:
        return _("until you delete them")
    grace = _for(retention.inactive_grace_days)
    visit = _for(retention.inactive_days)
    return _(
        "until you delete them or stay away for %(visit)s; we'd e-mail you %(grace)s before",
        visit=visit,
        grace=grace,
    )


def _for(days: float) -> str:
    if days >= _YEAR:
        years = round(days / _YEAR)
        return ngettext("%(num)s year", "%(num)s years", years)
    if days >= 2 * _MONTH:
        return ngettext("%(num)s month", "%(num)s months", round(days / _MONTH))
    if days >= 1:
        return ngettext("%(num)s day", "%(num)s days", round(days))
    return ngettext("%(num)s hour", "%(num)s hours", max(round(days * 24), 1))


def describe_views(views: PhotoViewCounts) -> tuple[str, str]:
    """Return how many people were shown somebody's photos in a week and in a month."""
    match views.people_this_week:
        case "0":
            week = _("Nobody was shown your photos in the last 7 days.")
        case "1-2":
            week = _("One or two people were shown your photos in the last 7 days.")
        case count:
            week = _("%(count)s people were shown your photos in the last 7 days.", count=count)
    match views.people_this_month:
        case "0":
            month = _("In the last 30 days: nobody.")
        case "1-2":
            month = _("In the last 30 days: one or two.")
        case count:
            month = _("In the last 30 days: %(count)s.", count=count)
    return week, month


@dataclass(frozen=True, slots=True, kw_only=True)
class YourDataPage(Page):
    """What is kept about a person, for them to see and take along."""

    template: ClassVar[str] = "your_data.html"
    section: ClassVar[str] = "profile"
    title: str = text_field("Your data")
    signed_in: bool = True
    retention: Sequence[KeptFor]


@dataclass(frozen=True, slots=True, kw_only=True)
class WithdrawConsentPage(Page):
    """What goes with the consent, before it is withdrawn."""

    template: ClassVar[str] = "withdraw_consent.html"
    section: ClassVar[str] = "profile"
    title: str = text_field("Withdraw your consent")
    signed_in: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class DeleteAccountPage(Page):
    """What goes with the account and the password; then the last question."""

    template: ClassVar[str] = "delete_account.html"
    section: ClassVar[str] = "profile"
    title: str = text_field("Delete your account")
    signed_in: bool = True
    email: str
    confirmation: str = ""
    """Proof that the password was right, for the second step; empty in the first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountDeletedPage(Page):
    """The end, with the receipt."""

    template: ClassVar[str] = "account_deleted.html"
    title: str = text_field("Your account is deleted")
    receipt: str
    """Empty when none could be made."""
    is_mailed: bool
