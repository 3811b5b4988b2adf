"""What a person waits for who neither finds anybody nor is found, in words of their own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from automatch.model.schools import Membership
from automatch.web.language import gettext as _
from automatch.web.protection.report_views import HiddenNotice


@dataclass(frozen=True, slots=True)
class Waiting:
    """Why a photo finds nobody for now, and the next step."""

    kind: str
    """Tells two of them apart, for the page that is open when it changes."""
    headline: str
    """The state of a photo."""
    title: str
    text: str
    address: str
    link: str


def find_waiting(
    membership: Membership | None, notices: Sequence[HiddenNotice] = ()
) -> Waiting | None:
    """Return what a person waits for; None for whoever takes part."""
    effects = {notice.effect for notice in notices}
    if "frozen" in effects:
        return _frozen()
    if membership is None:
        return None
    if membership.admitted:
        return _hidden() if "hidden" in effects else None
    school = membership.school
    if membership.settles_at:
        return Waiting(
            "change",
            _("Waiting for your change"),
            _("Waiting for your change"),
            _(
                "You changed your school or gender. Until it settles you don't see anyone, and no "
                "one finds you. Then we'll look for your look-alikes."
            ),
            "/profile/school",
            _("See until when"),
        )
    if not membership.needs_proof:
        return _frozen()
    if membership.requested_at and not membership.refused_at:
        return Waiting(
            "answer",
            _("Waiting for an answer"),
            _("Waiting for an answer"),
            _(
                "You asked to join %(school)s. Once you're in, we'll look for your look-alikes.",
                school=school,
            ),
            "/profile/school",
            _("See your request"),
        )
    return Waiting(
        "proof",
        _("Waiting for your proof"),
        _("Show that you belong to %(school)s", school=school),
        _("Until then you don't see anyone, and no one can find you."),
        "/profile/school",
        _("Show it now"),
    )


def _frozen() -> Waiting:
    return Waiting(
        "frozen",
        _("Not looking for now"),
        _("Your account is frozen"),
        _("You don't see anyone, and no one can find you."),
        "/reports",
        _("Tell us your side"),
    )


def _hidden() -> Waiting:
    return Waiting(
        "hidden",
        _("Not looking for now"),
        _("Your photo is hidden"),
        _("No one finds it, and it finds no one."),
        "/reports",
        _("Tell us your side"),
    )
