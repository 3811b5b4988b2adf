"""A person's own photos as the pages show them: each with the state of its job."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from automatch.errors.embedder import EmbedderError
from automatch.errors.job import DecodeTimeoutError, JobCrashedError
from automatch.errors.photo import (
    AnotherPersonError,
    ChallengeNeededError,
    FaceBlurredError,
    FaceCutOffError,
    PhotoInReviewError,
    PhotoRejectedError,
)
from automatch.model.jobs import JobStatus
from automatch.search.explain import (
    NEWCOMERS,
    explain_few_matches,
    list_pool_counts,
    needs_explanation,
)
from automatch.web.face_picker import FaceButton, face_buttons
from automatch.web.templating import photo_address
from automatch.web.waiting_views import Waiting

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime
    from uuid import UUID

    from jinja2 import Environment

    from automatch.model.jobs import Job
    from automatch.model.matches import MatchPool

_PHOTO_CODES = PhotoRejectedError.codes()
_HELD_CODES = {AnotherPersonError.code, ChallengeNeededError.code, PhotoInReviewError.code}
"""Of photos that wait for an operator's decision."""

COVERED_FACES = "Masks, sunglasses and drawings make strangers look alike."
"""Told with every match, because no gate tells such faces from bare ones: see docs/vision.md."""
_OUR_CODES = {DecodeTimeoutError.code, JobCrashedError.code, "worker_lost", *EmbedderError.codes()}
"""Why a photo was not matched though nothing is wrong with it; sent again it gets a new job."""
_ADVICE = {
    **dict.fromkeys(_OUR_CODES, "Something went wrong on our side. Add the photo again later."),
    FaceBlurredError.code: "Your photo is blurry. Hold the phone still or wipe the lens.",
    FaceCutOffError.code: "Your face is cut off at the edge. Leave some space around it.",
}
"""Sentences shown instead of the API's message, which states measured values or what failed on our
side."""


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
    error_message: str | None
    match_count: int
    elapsed_s: float | None
    """Seconds from the upload to the end of the job; None before that."""
    created_at: datetime
    reason: str = ""
    """Why the search found no one; empty when it found somebody."""
    counts: Sequence[tuple[str, str]] = ()
    """The counts behind the reason, each as (label, count)."""
    faces: Sequence[FaceButton] = ()
    """The faces to choose from, from left to right, while the person is asked which is theirs."""
    waiting: Waiting | None = None
    """Why the photo finds nobody for now."""

    @classmethod
    def from_job(
        cls, job: Job, pool: MatchPool | None = None, waiting: Waiting | None = None
    ) -> Self:
        """Return the item of a job; *pool* or *waiting* explains why it has no matches."""
        explained = pool if needs_explanation(job) and not (job.match_count or waiting) else None
        finished = job.completed_at if job.status.is_final else None
        return cls(
            job_id=job.id,
            face_id=job.face_id,
            thumbnail=(
                photo_address(job.face_id)
                if job.status is JobStatus.COMPLETED or job.error_code in _HELD_CODES
                else None
            ),
            status=job.status,
            attempts=job.attempts,
            max_attempts=job.max_attempts,
            error_code=job.error_code,
            error_message=job.error_message,
            match_count=job.match_count or 0,
            elapsed_s=(finished - job.created_at).total_seconds() if finished else None,
            created_at=job.created_at,
            reason=explain_few_matches(explained, 0) if explained else "",
            counts=list_pool_counts(explained) if explained else (),
            faces=face_buttons(job.faces),
            waiting=waiting,
        )

    @property
    def css_class(self) -> str:
        """The item's CSS class: its status, `asking`, or `held`."""
        if self.error_code in _HELD_CODES and self.status is JobStatus.FAILED:
            return "held"
        return "asking" if self.faces else self.status.value

    @property
    def challenge(self) -> str | None:
        """Address of the page on which the person shows that the photo is their own."""
        if self.status is JobStatus.FAILED and self.error_code == ChallengeNeededError.code:
            return f"/photos/{self.face_id}/challenge"
        return None

    @property
    def headline(self) -> str:
        """The state of the photo, in a few words."""
        match self.status:
            case JobStatus.PENDING:
                return "Trying again soon" if self.attempts else "Waiting for its turn"
            case JobStatus.PROCESSING:
                return "Looking for look-alikes"
            case JobStatus.COMPLETED if self.waiting and not self.match_count:
                return self.waiting.headline
            case JobStatus.COMPLETED:
                return _found(self.match_count)
            case JobStatus.FAILED if self.faces:
                return "Which one is you?"
            case JobStatus.FAILED if self.challenge:
                return "Is it you?"
            case JobStatus.FAILED if self.error_code in _HELD_CODES:
                return "Waiting for a look"
            case JobStatus.FAILED if self.error_code in _PHOTO_CODES:
                return "This photo cannot be used"
            case _:
                return "This photo was not matched"

    @property
    def detail(self) -> str:
        """What the state means or what to do, in one sentence; may be empty."""
        match self.status:
            case JobStatus.PENDING if self.attempts:
                return f"Attempt {self.attempts} of {self.max_attempts} did not work."
            case JobStatus.PENDING:
                return "It usually takes a few seconds."
            case JobStatus.PROCESSING:
                return "Your look-alikes appear here as they are found."
            case JobStatus.COMPLETED if self.match_count:
                took = f"Matched in {_duration(self.elapsed_s)}. " if self.elapsed_s else ""
                return took + COVERED_FACES
            case JobStatus.COMPLETED if self.waiting:
                return self.waiting.text
            case JobStatus.COMPLETED:
                return self.reason or NEWCOMERS
            case JobStatus.FAILED if self.faces:
                return (
                    f"The photo shows {len(self.faces)} faces. Tap yours to continue the search; "
                    "without an answer the photo will be deleted."
                )
            case _:
                return (
                    _ADVICE.get(self.error_code or "")
                    or self.error_message
                    or "Try again, or use another photo."
                )

    @property
    def announcement(self) -> str:
        """The announcement of a final state for screen readers; empty before that."""
        if not self.status.is_final:
            return ""
        headline = self.headline if self.headline.endswith("?") else f"{self.headline}."
        return headline if self.match_count else f"{headline} {self.detail}"


def _found(count: int) -> str:
    if count == 0:
        return "No look-alikes yet"
    return "1 look-alike found" if count == 1 else f"{count} look-alikes found"


def _duration(seconds: float) -> str:
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    if seconds < 119.5:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min"


def render_job(templates: Environment, job: JobItem) -> str:
    """Return the `<li>` of the person's own photo, for the page and the stream."""
    return templates.get_template("_job.html").render(job=job).strip()
