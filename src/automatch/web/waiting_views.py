"""What a person waits for who neither finds anybody nor is found, in words of their own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from automatch.model.schools import Membership
from automatch.web.report_views import HiddenNotice


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


_FROZEN = Waiting(
    "frozen",
    "Not looking for now",
    "Your account is frozen",
    "You don't see anyone, and no one finds you.",
    "/reports",
    "Tell us your side",
)
_HIDDEN = Waiting(
    "hidden",
    "Not looking for now",
    "Your photo is hidden",
    "No one finds it, and it finds no one.",
    "/reports",
    "Tell us your side",
)


def find_waiting(
    membership: Membership | None, notices: Sequence[HiddenNotice] = ()
) -> Waiting | None:
    """Return what a person waits for; None for whoever takes part."""
    effects = {notice.effect for notice in notices}
    if "frozen" in effects:
        return _FROZEN
    if membership is None:
        return None
    if membership.admitted:
        return _HIDDEN if "hidden" in effects else None
    school = membership.school
    if membership.settles_at:
        return Waiting(
            "change",
            "Waiting for your change",
            "Waiting for your change",
            "You changed your school or gender. Until it settles you don't see anyone, and no one "
            "finds you. Then we'll look for your look-alikes.",
            "/onboarding",
            "See until when",
        )
    if not membership.needs_proof:
        return _FROZEN
    if membership.requested_at and not membership.refused_at:
        return Waiting(
            "answer",
            "Waiting for an answer",
            "Waiting for an answer",
            f"You asked to be let in to {school}. Once you are, we'll look for your look-alikes.",
            "/onboarding",
            "See your request",
        )
    return Waiting(
        "proof",
        "Waiting for your proof",
        f"Show that you belong to {school}",
        "Until then you don't see anyone, and no one finds you.",
        "/onboarding",
        "Show it now",
    )
