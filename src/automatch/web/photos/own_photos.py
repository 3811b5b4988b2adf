"""A person's own photos as the pages show them: each with the state of its job."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import astuple, dataclass
from datetime import datetime
from typing import TYPE_CHECKING, ClassVar, Self
from uuid import UUID

from automatch.errors.photo import HELD_CODES, ChallengeNeededError
from automatch.model.faces import FaceBox
from automatch.model.jobs import JobStatus
from automatch.search.explain import (
    NEWCOMERS,
    explain_few_matches,
    list_pool_counts,
    needs_explanation,
)
from automatch.web.language import gettext as _
from automatch.web.language import gettext_noop, ngettext, text_field
from automatch.web.photo_reasons import REFUSALS, Mark, Refusal
from automatch.web.photos.face_picker import FaceButton, face_buttons
from automatch.web.photos.waiting_views import Waiting
from automatch.web.refusals import describe_code
from automatch.web.templating import Page, photo_address

if TYPE_CHECKING:
    from jinja2 import Environment

    from automatch.model.faces import Face
    from automatch.model.jobs import Job, Upload
    from automatch.model.matches import MatchPool
    from automatch.model.people import Consent

COVERED_FACES = gettext_noop("Masks, sunglasses and drawings make strangers look alike.")
"""Told with every match, because no gate tells such faces from bare ones: see docs/vision.md."""
_ROOM = 0.35
"""What a face needs around it, in shares of its box: a box ends at brows and chin."""
_CLOSER = 2.2
"""How much larger a face that is too small is drawn."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JobItem:
    """One photo of the person, with the state of its job."""

    job_id: UUID
    face_id: UUID
    thumbnail: str | None
    """None until a worker has created it; a refused photo never gets one."""
    status: JobStatus
    attempts: int
    max_attempts: int
    error_code: str | None
    match_count: int
    """By now, and not what the search found."""
    created_at: datetime
    reason: str = ""
    """Why the search found no one; empty when it found somebody."""
    counts: Sequence[tuple[str, str]] = ()
    """The counts behind the reason, each as (label, count)."""
    faces: Sequence[FaceButton] = ()
    """The faces to choose from, from left to right, while the person is asked which is theirs."""
    waiting: Waiting | None = None
    """Why the photo finds nobody for now."""
    picture: RefusedPicture | None = None
    """What is shown of a refused photo, while it is kept."""
    is_open: bool = False
    """Whether the page shows what else there is to say."""

    @classmethod
    def from_job(
        cls,
        job: Job,
        pool: MatchPool | None = None,
        waiting: Waiting | None = None,
        *,
        shown_until: datetime | None = None,
        is_open: bool = False,
    ) -> Self:
        """Return the item of a job; *pool* or *waiting* explains why it has no matches.

        Refused photos that ended before *shown_until* are not shown any more.
        """
        matches = job.match_count if job.matches_now is None else job.matches_now
        explained = pool if needs_explanation(job) and not (matches or waiting) else None
        return cls(
            job_id=job.id,
            face_id=job.face_id,
            thumbnail=(
                photo_address(job.face_id)
                if job.status is JobStatus.COMPLETED or job.error_code in HELD_CODES
                else None
            ),
            status=job.status,
            attempts=job.attempts,
            max_attempts=job.max_attempts,
            error_code=job.error_code,
            match_count=matches or 0,
            created_at=job.created_at,
            reason=explain_few_matches(explained, 0) if explained else "",
            counts=list_pool_counts(explained) if explained else (),
            faces=face_buttons(job.faces),
            waiting=waiting,
            picture=RefusedPicture.from_job(job, shown_until) if shown_until else None,
            is_open=is_open,
        )

    @property
    def css_class(self) -> str:
        """The item's CSS class: its status, `asking`, or `held`."""
        if self.error_code in HELD_CODES and self.status is JobStatus.FAILED:
            return "held"
        return "asking" if self.faces else self.status.value

    @property
    def challenge(self) -> str | None:
        """Address of the page on which the person shows that the photo is their own."""
        if self.status is JobStatus.FAILED and self.error_code == ChallengeNeededError.code:
            return f"/photos/{self.face_id}/challenge"
        return None

    @property
    def refusal(self) -> Refusal | None:
        """Why the photo was refused, or waits for a decision."""
        if self.status is not JobStatus.FAILED or self.faces:
            return None
        return REFUSALS.get(self.error_code or "")

    @property
    def short(self) -> str:
        """The state in a word or two, for a small picture."""
        match self.status:
            case JobStatus.PENDING:
                return _("Waiting")
            case JobStatus.PROCESSING:
                return _("Looking")
            case JobStatus.COMPLETED if self.match_count:
                return ngettext("%(num)s match", "%(num)s matches", self.match_count)
            case JobStatus.COMPLETED:
                return _("No one yet") if self.waiting is None else _("Waiting")
            case JobStatus.FAILED if self.faces:
                return _("Which one?")
            case _:
                return self.refusal.title if self.refusal else _("Not matched")

    @property
    def headline(self) -> str:
        """The state of the photo, in a few words."""
        match self.status:
            case JobStatus.PENDING:
                return _("Trying again soon") if self.attempts else _("Waiting for its turn")
            case JobStatus.PROCESSING:
                return _("Looking for look-alikes")
            case JobStatus.COMPLETED if self.waiting and not self.match_count:
                return self.waiting.headline
            case JobStatus.COMPLETED if self.match_count:
                return ngettext(
                    "%(num)s look-alike found", "%(num)s look-alikes found", self.match_count
                )
            case JobStatus.COMPLETED:
                return _("No look-alikes yet")
            case JobStatus.FAILED if self.faces:
                return _("Which one is you?")
            case _:
                return self.refusal.title if self.refusal else _("This photo wasn't matched")

    @property
    def detail(self) -> str:
        """What the state means or what to do, in one sentence; may be empty."""
        match self.status:
            case JobStatus.PENDING if self.attempts:
                return _(
                    "Attempt %(number)s of %(most)s didn't work.",
                    number=self.attempts,
                    most=self.max_attempts,
                )
            case JobStatus.PENDING:
                return _("It usually takes a few seconds.")
            case JobStatus.PROCESSING:
                return _("Your look-alikes appear here as they are found.")
            case JobStatus.COMPLETED if self.match_count:
                return _(COVERED_FACES)
            case JobStatus.COMPLETED if self.waiting:
                return self.waiting.text
            case JobStatus.COMPLETED:
                return self.reason or NEWCOMERS
            case JobStatus.FAILED if self.faces:
                return _("Tap your face. If you don't, we'll delete this photo in a day.")
            case _ if self.refusal:
                return self.refusal.advice
            case _:
                return describe_code(self.error_code or "")

    @property
    def announcement(self) -> str:
        """The announcement of a final state for screen readers; empty before that."""
        if not self.status.is_final:
            return ""
        headline = self.headline if self.headline.endswith("?") else f"{self.headline}."
        return headline if self.match_count else f"{headline} {self.detail}"


@dataclass(frozen=True, slots=True)
class RefusedPicture:
    """What is shown of a refused photo, to its owner alone; boxes are in percent of its sides."""

    address: str
    width: int
    height: int
    face: FaceBox | None
    """The face at fault; None where nothing of it is to be marked."""
    closer: FaceBox | None
    """How large it should be, where it is too small."""
    edges: Sequence[str]
    """The sides of the photo that cut it: `left`, `top`, `right`, `bottom`."""
    has_guide: bool
    """Whether it is drawn where a face should be."""

    @classmethod
    def from_job(cls, job: Job, shown_until: datetime) -> Self | None:
        """Return the picture of a refused photo; None if there is none, or not any more."""
        refusal = REFUSALS.get(job.error_code or "")
        if job.refused is None or not refusal or not job.completed_at:
            return None
        if job.completed_at < shown_until:
            return None
        marked = refusal.mark in {Mark.FACE, Mark.EDGE, Mark.CLOSER}
        face = job.refused.face if marked else None
        return cls(
            address=f"/photos/{job.face_id}/refused",
            width=job.refused.width,
            height=job.refused.height,
            face=face and _in_percent(face),
            closer=_enlarged(face) if face and refusal.mark is Mark.CLOSER else None,
            edges=_cut_edges(face) if face and refusal.mark is Mark.EDGE else (),
            has_guide=refusal.mark is Mark.GUIDE,
        )


def _in_percent(box: FaceBox) -> FaceBox:
    return FaceBox(*(round(100 * share, 2) for share in astuple(box)))


def _enlarged(box: FaceBox) -> FaceBox:
    more = (_CLOSER - 1) / 2
    return _in_percent(
        FaceBox.of_corners(
            box.left - more * box.width,
            box.top - more * box.height,
            box.left + (1 + more) * box.width,
            box.top + (1 + more) * box.height,
        )
    )


def _cut_edges(box: FaceBox) -> list[str]:
    """Return the sides of the photo at which the face has no room."""
    room = {
        "left": box.left / box.width if box.width else 0,
        "top": box.top / box.height if box.height else 0,
        "right": (1 - box.left - box.width) / box.width if box.width else 0,
        "bottom": (1 - box.top - box.height) / box.height if box.height else 0,
    }
    return [side for side, share in room.items() if share < _ROOM] or [
        min(room, key=room.__getitem__)
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnPhotosPage(Page):
    """A page with the person's own photos, to which they add one."""

    signed_in: bool = True
    faces: Sequence[Face]
    jobs: Sequence[JobItem]
    """Newest first."""
    uploads_refused_reason: str | None = None
    """Why uploads are not allowed, shown with a link to the profile."""
    max_upload_mb: int
    kept_side: int
    """Pixels of the longest side that the server keeps; the page scales a photo down to it."""

    @property
    def faces_without_job(self) -> list[Face]:
        """Photos whose job was cleaned up; they are still matched."""
        listed = {job.face_id for job in self.jobs}
        return [face for face in self.faces if face.id not in listed]


@dataclass(frozen=True, slots=True, kw_only=True)
class PhotosPage(OwnPhotosPage):
    """The person's own photos, and adding one."""

    template: ClassVar[str] = "photos.html"
    section: ClassVar[str] = "photos"
    title: str = text_field("Your photos")


def newest_jobs(jobs: Iterable[Job]) -> list[Job]:
    """Return the newest job of each photo, out of *jobs* from the newest on."""
    newest: dict[UUID, Job] = {}
    for job in jobs:
        newest.setdefault(job.face_id, job)
    return list(newest.values())


def why_no_upload(consent: Consent) -> str | None:
    """Return what to do before adding a photo; None once the consent is given."""
    return None if consent.is_current else _("To add a photo, first agree to face matching.")


def describe_upload(upload: Upload) -> str:
    """Return what a page says of a photo that was sent, now or before."""
    if upload.is_new:
        return _("Photo added. We're looking.")
    repeated = _("You've added this photo already.")
    return f"{repeated} {describe_code(upload.error_code)}" if upload.error_code else repeated


def render_job(templates: Environment, job: JobItem) -> str:
    """Return the `<li>` of the person's own photo, for the page and the stream."""
    return templates.get_template("_job.html").render(job=job).strip()


def render_strip_photo(templates: Environment, job: JobItem) -> str:
    """Return the `<li>` of the photo in the strip of the feed, for the page and the stream."""
    return templates.get_template("_strip_photo.html").render(job=job).strip()
