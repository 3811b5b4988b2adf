"""View models of the pages about one's own data: what is kept, withdrawing, and leaving."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from automatch.web.templating import Page

if TYPE_CHECKING:
    from collections.abc import Sequence

    from automatch.model.people import ConsentRecord
    from automatch.settings.storage import RetentionSettings
    from automatch.store.photo_views import PhotoViewCounts


@dataclass(frozen=True, slots=True)
class KeptFor:
    """Something that is kept, and how long."""

    what: str
    how_long: str


def list_retention(retention: RetentionSettings, session_s: float) -> list[KeptFor]:
    """Return what the page says about how long things are kept."""
    return [
        KeptFor("Your profile and photos", _as_long_as_used(retention)),
        KeptFor(
            "Your matches",
            _for(retention.matches_days) if retention.matches_days else "as long as both photos",
        ),
        KeptFor("Photos we couldn't use", _for(retention.refused_uploads_s / 86400)),
        KeptFor("What became of each photo's search", _for(retention.jobs_days)),
        KeptFor("Who was shown which photo", _for(retention.photo_views_days)),
        KeptFor("Where you're signed in", f"{_for(session_s / 86400)} after the last visit"),
        KeptFor("What operators did, and why", _for(retention.audit_log_days)),
    ]


def _as_long_as_used(retention: RetentionSettings) -> str:
    until = "until you delete them"
    if not retention.inactive_days:
        return until
    grace = _for(retention.inactive_grace_days)
    visit = _for(retention.inactive_days)
    return f"{until}, or {visit} without a visit: we'd warn you by mail {grace} before"


def _for(days: float) -> str:
    for unit, size in (("year", 365.0), ("month", 30.0), ("day", 1.0)):
        if days >= size and (unit != "month" or days >= 2 * size):
            count = round(days / size)
            return f"{count} {unit}{'s' if count > 1 else ''}"
    hours = max(round(days * 24), 1)
    return f"{hours} hour{'s' if hours > 1 else ''}"


def describe_people(count: str) -> str:
    """Return a number of people, which may be `0` or `1-2`, as the beginning of a sentence."""
    return {"0": "Nobody was", "1-2": "One or two people were"}.get(count, f"{count} people were")


@dataclass(frozen=True, slots=True, kw_only=True)
class YourDataPage(Page):
    """What is kept about a person, for them to see and take along."""

    template: ClassVar[str] = "your_data.html"
    section: ClassVar[str] = "profile"
    title: str = "Your data"
    signed_in: bool = True
    views: PhotoViewCounts
    consents: Sequence[ConsentRecord]
    retention: Sequence[KeptFor]

    @property
    def this_week(self) -> str:
        return describe_people(self.views.people_this_week)

    @property
    def this_month(self) -> str:
        return describe_people(self.views.people_this_month)


@dataclass(frozen=True, slots=True, kw_only=True)
class WithdrawConsentPage(Page):
    """What goes with the consent, before it is withdrawn."""

    template: ClassVar[str] = "withdraw_consent.html"
    section: ClassVar[str] = "profile"
    title: str = "Withdraw your consent"
    signed_in: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class DeleteAccountPage(Page):
    """What goes with the account and the password; then the last question."""

    template: ClassVar[str] = "delete_account.html"
    section: ClassVar[str] = "profile"
    title: str = "Delete your account"
    signed_in: bool = True
    email: str
    confirmation: str = ""
    """Proof that the password was right, for the second step; empty in the first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountDeletedPage(Page):
    """The end, with the receipt."""

    template: ClassVar[str] = "account_deleted.html"
    title: str = "Your account is deleted"
    receipt: str
    """Empty when none could be made."""
    is_mailed: bool
