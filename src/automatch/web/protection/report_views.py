"""View models of reports: from a card, of a photo without an account, and what becomes of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import ClassVar, Self
from urllib.parse import urlencode
from uuid import UUID

from automatch.model.cases import CaseSide, CaseState, OwnCase, OwnMessage, ReportReason
from automatch.services.protection.reports import LinkedCaseFile, OwnCases
from automatch.web.language import gettext, text_field
from automatch.web.language import gettext_noop as _
from automatch.web.templating import Page, photo_address

REASONS = {
    ReportReason.NOT_THEIR_PHOTO: _("It isn't a photo of them"),
    ReportReason.UNDER_18: _("They're under 18"),
    ReportReason.HARASSMENT: _("Harassment"),
    ReportReason.FAKE: _("A fake account"),
    ReportReason.OTHER: _("Something else"),
}
_TAKE_DOWN_REASONS = {
    ReportReason.NOT_THEIR_PHOTO: _("It's a photo of me, and I didn't add it"),
    ReportReason.UNDER_18: _("It shows somebody under 18"),
    ReportReason.OTHER: _("Something else"),
}
_QUESTIONS = {
    ReportReason.NOT_THEIR_PHOTO: _("A question about whether it's a photo of you"),
    ReportReason.UNDER_18: _("A question about your age"),
    ReportReason.HARASSMENT: _("A question about how you treat others"),
    ReportReason.FAKE: _("A question about whether your account is real"),
    ReportReason.OTHER: _("A question about your account"),
}
"""What a report is about, for whoever is reported."""
_ASKED = {
    ReportReason.NOT_THEIR_PHOTO: _(
        "Somebody asked whether this is you, and we're looking at it. Nothing is deleted."
    ),
    ReportReason.UNDER_18: _(
        "Somebody asked about your age, and we're looking at it. Nothing is deleted."
    ),
    ReportReason.HARASSMENT: _(
        "Somebody asked about how you treat others, and we're looking at it. Nothing is deleted."
    ),
    ReportReason.FAKE: _(
        "Somebody asked whether your account is real, and we're looking at it. Nothing is deleted."
    ),
    ReportReason.OTHER: _(
        "Somebody asked about your account, and we're looking at it. Nothing is deleted."
    ),
}
_DECIDED = {
    ReportReason.NOT_THEIR_PHOTO: _(
        "We decided this after a question about whether it's a photo of you."
    ),
    ReportReason.UNDER_18: _("We decided this after a question about your age."),
    ReportReason.HARASSMENT: _("We decided this after a question about how you treat others."),
    ReportReason.FAKE: _("We decided this after a question about whether your account is real."),
    ReportReason.OTHER: _("We decided this after a question about your account."),
}
"""Why something of a person is hidden, once that is decided."""

_UNDER_WAY = _("We're looking at it.")
_TOLD_REPORTER = {
    "hidden": _("We've hidden the photo. Thank you for telling us."),
    "frozen": _("We've frozen the account. Thank you for telling us."),
    "photo_erased": _("The photo is deleted. Thank you for telling us."),
    "person_erased": _("The account is deleted. Thank you for telling us."),
    "gone": _("The account doesn't exist any more."),
    "restored": _("We looked at it again and reversed our decision."),
}
_TOLD_REPORTER_ELSE = _("We looked at it and found no reason to act.")
_TOLD_REPORTED = {
    "hidden": _("We've hidden a photo of yours."),
    "frozen": _("We've frozen your account."),
    "photo_erased": _("We've deleted a photo of yours."),
    "restored": _("We reversed our decision. Everything is as before."),
    "dismissed": _("All is well. Everything is as before."),
}


@dataclass(frozen=True, slots=True)
class HiddenNotice:
    """What was done to the person who looks at the feed, and about what."""

    effect: str
    """`hidden` or `frozen`."""
    why: str
    """What was asked, or decided, in a sentence."""
    is_decided: bool

    @classmethod
    def from_case(cls, case: OwnCase) -> Self | None:
        """Return the notice of a case, or None where nothing is hidden from others."""
        if case.effect is None:
            return None
        is_decided = case.state is CaseState.DECIDED
        why = gettext((_DECIDED if is_decided else _ASKED)[case.reason])
        return cls(case.effect, why, is_decided)


def list_notices(cases: Sequence[OwnCase]) -> list[HiddenNotice]:
    """Return what is hidden from others now, each once."""
    found = (HiddenNotice.from_case(case) for case in cases)
    return list(dict.fromkeys(notice for notice in found if notice is not None))


@dataclass(frozen=True, slots=True)
class CaseItem:
    """One case, as one of its sides sees it."""

    id: UUID | None
    """None where a mailed link names it."""
    headline: str
    status: str
    opened_at: datetime
    messages: Sequence[OwnMessage]
    may_write: bool
    is_appeal: bool
    """Whether what is written now asks for another look at a decision."""

    @classmethod
    def from_own(cls, case: OwnCase, messages: Sequence[OwnMessage]) -> Self:
        """Return the item of a case of somebody who is signed in."""
        is_decided = case.state is CaseState.DECIDED
        if case.side is CaseSide.REPORTER:
            headline = gettext("Your report: %(reason)s", reason=gettext(REASONS[case.reason]))
            status = _TOLD_REPORTER.get(case.decision or "", _TOLD_REPORTER_ELSE)
        else:
            headline = gettext(_QUESTIONS[case.reason])
            status = _TOLD_REPORTED.get(case.decision or "", _("It's settled."))
        return cls(
            id=case.id,
            headline=headline,
            status=gettext(status if is_decided else _UNDER_WAY),
            opened_at=case.opened_at,
            messages=[message for message in messages if message.case_id == case.id],
            may_write=case.may_write,
            is_appeal=is_decided,
        )

    @classmethod
    def from_link(cls, file: LinkedCaseFile) -> Self:
        """Return the item of a case that a mailed link names."""
        case = file.case
        is_decided = case.state is CaseState.DECIDED
        return cls(
            id=None,
            headline=gettext(_TAKE_DOWN_REASONS.get(case.reason, REASONS[case.reason])),
            status=gettext(
                _TOLD_REPORTER.get(case.decision or "", _TOLD_REPORTER_ELSE)
                if is_decided
                else _UNDER_WAY
            ),
            opened_at=case.opened_at,
            messages=file.messages,
            may_write=case.may_write,
            is_appeal=is_decided,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportPage(Page):
    """Report somebody of one's feed."""

    template: ClassVar[str] = "report.html"
    title: str = text_field("Report")
    signed_in: bool = True
    profile_id: UUID
    name: str
    photo: str | None
    to: str = ""
    """The page to lead on to; empty for the feed."""
    reason: str = ""
    statement: str = ""

    @property
    def reasons(self) -> dict[ReportReason, str]:
        """The reasons to choose from."""
        return _translated(REASONS)

    @property
    def onward(self) -> str:
        """What the address of the form says to lead on to."""
        return "?" + urlencode({"to": self.to}) if self.to else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class TakeDownPage(Page):
    """Ask without an account that a photo is taken down."""

    template: ClassVar[str] = "take_down.html"
    title: str = text_field("A photo of you that you didn't add?")
    photo: str = ""
    email: str = ""
    reason: str = ReportReason.NOT_THEIR_PHOTO.value
    statement: str = ""
    asked: bool = False
    sends_mail: bool
    kept_days: int
    """How long after the decision the address is kept."""

    @property
    def reasons(self) -> dict[ReportReason, str]:
        """The reasons to choose from."""
        return _translated(_TAKE_DOWN_REASONS)


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkedCasePage(Page):
    """The request of somebody without an account, by the token of a mailed link."""

    template: ClassVar[str] = "linked_case.html"
    title: str = text_field("Your request")
    token: str
    is_proven: bool
    item: CaseItem


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportsPage(Page):
    """What the person reported, and what was done about them."""

    template: ClassVar[str] = "reports.html"
    section: ClassVar[str] = "profile"
    title: str = text_field("Reports")
    signed_in: bool = True
    items: Sequence[CaseItem]

    @classmethod
    def from_cases(cls, own: OwnCases, **more: object) -> Self:
        """Return the page with the cases of a person."""
        items = [CaseItem.from_own(case, own.messages) for case in own.cases]
        return cls(items=items, **more)  # type: ignore[arg-type]  # fields of Page


def _translated(reasons: dict[ReportReason, str]) -> dict[ReportReason, str]:
    return {reason: gettext(text) for reason, text in reasons.items()}


def photo_of(face_id: UUID | None) -> str | None:
    """Return the address of a thumbnail."""
    return photo_address(face_id) if face_id else None
