"""What was just done about a person, told on the next page or to a script, with a way back.

An act counts at once, and undoing it is an act of its own. After a redirect the next page tells it,
out of a cookie that lives as long as a toast.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from uuid import UUID

from fastapi import Request

from automatch.http.deps import Services
from automatch.web.language import gettext as _
from automatch.web.session import DONE_COOKIE, write_cookie

_LIFE_S = 15
"""The ten seconds of a toast, and the way there."""


class PersonAct(StrEnum):
    """What was done; the id that belongs to it is a person's, or for `reported` a case's."""

    LIKED = "liked"
    BOTH_LIKE = "both_like"
    UNLIKED = "unliked"
    DISMISSED = "dismissed"
    BLOCKED = "blocked"
    REPORTED = "reported"
    SHOWN = "shown"
    WITHDRAWN = "withdrawn"


_UNDONE_BY = {
    PersonAct.LIKED: "/people/{}/unlike",
    PersonAct.BOTH_LIKE: "/people/{}/unlike",
    PersonAct.UNLIKED: "/people/{}/like",
    PersonAct.DISMISSED: "/people/{}/show-again",
    PersonAct.BLOCKED: "/people/{}/show-again",
    PersonAct.REPORTED: "/reports/{}/withdraw",
}


@dataclass(frozen=True, slots=True)
class Done:
    """Something that was just done."""

    act: PersonAct
    object_id: UUID

    @property
    def message(self) -> str:
        """What happened, in a sentence."""
        return {
            PersonAct.LIKED: _("Liked. They'll only know if they like you, too."),
            PersonAct.BOTH_LIKE: _("You like each other!"),
            PersonAct.UNLIKED: _("Like taken back."),
            PersonAct.DISMISSED: _("Not a look-alike. You won't see each other."),
            PersonAct.BLOCKED: _("Blocked. They aren't told."),
            PersonAct.REPORTED: _("Reported. We'll look at it, and you won't see each other."),
            PersonAct.SHOWN: _("You can see each other again."),
            PersonAct.WITHDRAWN: _("Your report is withdrawn."),
        }[self.act]

    @property
    def undo(self) -> str | None:
        """Where a form undoes it."""
        path = _UNDONE_BY.get(self.act)
        return path.format(self.object_id) if path else None


def remember_done(services: Services, done: Done) -> str:
    """Return the `Set-Cookie` value by which the next page tells it."""
    value = f"{done.act}.{done.object_id}"
    return write_cookie(services.settings, DONE_COOKIE, value, _LIFE_S)


def read_done(request: Request) -> Done | None:
    """Return what the page before has done; a cookie that says anything else says nothing."""
    act, _dot, object_id = request.cookies.get(DONE_COOKIE, "").partition(".")
    try:
        return Done(PersonAct(act), UUID(object_id))
    except ValueError:
        return None


def forget_done(services: Services) -> str:
    """Return the `Set-Cookie` value with which a page tells it once."""
    return write_cookie(services.settings, DONE_COOKIE, "", 0)
