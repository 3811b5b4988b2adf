"""What a feed without a card says: why it is empty, and the next step. Decided here alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from automatch.model.jobs import JobStatus
from automatch.web.language import gettext as _

if TYPE_CHECKING:
    from jinja2 import Environment

    from automatch.model.matches import MatchPool, Show
    from automatch.web.photos.own_photos import JobItem
    from automatch.web.photos.waiting_views import Waiting

ADD_PHOTO = "/photos#upload-form"
_WORKING = {JobStatus.PENDING, JobStatus.PROCESSING}


@dataclass(frozen=True, slots=True)
class Empty:
    """Why there is no card."""

    drawing: str
    """The name of its picture in `templates/drawings/`."""
    title: str
    text: str
    link: tuple[str, str] | None = None
    """The next step, as (address, text)."""

    @property
    def adds_photo(self) -> bool:
        """Whether the next step is to add a photo, which a script does in the page."""
        return self.link is not None and self.link[0] == ADD_PHOTO


def find_empty(
    *,
    show: Show,
    is_newest: bool,
    jobs: Sequence[JobItem],
    has_photo: bool,
    discoverable: bool,
    is_paused: bool,
    pool: MatchPool | None,
    waiting: Waiting | None,
) -> Empty:
    """Return what a feed says that has nobody to show.

    *has_photo* is whether a photo is matched; *jobs* are those of the newest photos.
    """
    if not is_newest:
        return Empty("no_earlier", _("There are no earlier look-alikes"), "")
    if show == "liked":
        return Empty(
            "no_liked",
            _("No likes yet"),
            _("Whoever you like is listed here. They aren't told, unless they like you too."),
            ("/feed", _("Show all")),
        )
    if show == "new":
        return Empty(
            "all_seen",
            _("You've seen them all"),
            _("New look-alikes show up here on their own."),
            ("/feed", _("Show all")),
        )
    if waiting is not None:
        drawing = "paused" if waiting.kind in {"frozen", "hidden"} else "photo_waiting"
        return Empty(drawing, waiting.title, waiting.text, (waiting.address, waiting.link))
    if not discoverable:
        return Empty(
            "paused",
            _("You're hidden"),
            _("No one new can match with you until you turn this back on."),
            ("/profile", _("Go to your profile")),
        )
    if not jobs and not has_photo:
        return Empty(
            "no_photo",
            _("Who looks like you?"),
            _("Add a photo. Your look-alikes appear here a few seconds later."),
            (ADD_PHOTO, _("Add a photo")),
        )
    if any(job.status in _WORKING for job in jobs):
        if is_paused:
            return Empty(
                "queue_paused",
                _("The search is paused"),
                _("Your photo is safe. We'll look for look-alikes once the search is back on."),
            )
        return Empty("searching", _("Looking for your look-alikes"), _("This takes a few seconds."))
    return _without_match(jobs, has_photo=has_photo, pool=pool)


def _without_match(jobs: Sequence[JobItem], *, has_photo: bool, pool: MatchPool | None) -> Empty:
    if not has_photo and jobs[0].css_class in {"held", "asking"}:
        return Empty(
            "photo_waiting",
            _("Your photo is still waiting"),
            jobs[0].detail,
            (f"/photos#photo-{jobs[0].face_id}", _("See your photo")),
        )
    if not has_photo:
        return Empty(
            "refused", jobs[0].headline, jobs[0].detail, (ADD_PHOTO, _("Add another photo"))
        )
    if pool is not None and not pool.findable:
        return Empty(
            "first_here",
            _("You're one of the first here"),
            _(
                "So far, fewer than 10 people at your school could match with you. We'll check "
                "everyone new who joins."
            ),
        )
    return Empty(
        "nobody",
        _("No look-alikes yet"),
        _("We'll check everyone new who joins. Another photo may help, too."),
        (ADD_PHOTO, _("Add another photo")),
    )


def render_empty(templates: Environment, empty: Empty) -> str:
    """Return the inside of the empty feed, for the page and for what changes on it."""
    return templates.get_template("_empty.html").render(empty=empty).strip()
