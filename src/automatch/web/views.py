"""What each page shows: one frozen dataclass per template, and the functions that render them.

Every template sees one variable: `page`, or `card` and `job` in the partials that the page and the
stream share. Text is written here or in a template; what the server says arrives as a value.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Self

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from automatch.errors.photo import PhotoRejectedError
from automatch.model.jobs import JobStatus
from automatch.search.explain import (
    NEWCOMERS,
    explain_few_matches,
    list_pool_counts,
    needs_explanation,
)
from automatch.web.face_picker import FaceButton, face_buttons

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import date, datetime
    from uuid import UUID

    from automatch.model.faces import Face
    from automatch.model.jobs import Job
    from automatch.model.matches import FeedEntry, MatchPool
    from automatch.model.people import Consent, HiddenPerson, Profile

STATIC_FOLDER = Path(__file__).parent / "static"
_TEMPLATE_FOLDER = Path(__file__).parent / "templates"

_NAMELESS = "Someone"
_PHOTO_CODES = frozenset(error.code for error in PhotoRejectedError.__subclasses__())


def photo_address(face_id: UUID, size: str = "thumb") -> str:
    """Return where the photo of a face is; *size* is `thumb` or `full`."""
    return f"/photos/{face_id}?size={size}"


@dataclass(frozen=True, slots=True)
class Problem:
    """Why a form was not accepted, shown where the person can put it right."""

    code: str
    message: str
    field: str | None = None
    """Name of the form field at fault; None shows the message above the form."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """What the base template needs of every page."""

    template: ClassVar[str]
    section: ClassVar[str] = ""
    """The entry of the navigation that is current."""
    title: str
    signed_in: bool = False
    """Whether the header offers the feed, the profile and signing out."""
    problem: Problem | None = None
    notice: str | None = None
    """What was done just now; told on top of the page."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SignInPage(Page):
    """E-mail and password."""

    template: ClassVar[str] = "sign_in.html"
    title: str = "Sign in"
    email: str = ""
    """What was typed before, so that a wrong password costs only the password."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SignUpPage(Page):
    """E-mail and a new password; everything else is asked on the profile page."""

    template: ClassVar[str] = "sign_up.html"
    title: str = "Create an account"
    email: str = ""


@dataclass(frozen=True, slots=True)
class ProfileForm:
    """The profile fields as typed, valid or not; the names are those of the form fields."""

    name: str = ""
    school: str = ""
    gender: str = ""
    birth_date: str = ""
    """`YYYY-MM-DD`, as a date field sends it."""

    @classmethod
    def from_profile(cls, profile: Profile) -> Self:
        """Return the fields filled with what was saved before."""
        return cls(
            name=profile.name or "",
            school=profile.school or "",
            gender=profile.gender.value if profile.gender else "",
            birth_date=profile.birth_date.isoformat() if profile.birth_date else "",
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class OnboardingPage(Page):
    """The profile and the consent, the first time and whenever they are changed."""

    template: ClassVar[str] = "onboarding.html"
    section: ClassVar[str] = "profile"
    title: str = "Your profile"
    signed_in: bool = True
    form: ProfileForm
    consent: Consent
    latest_birth_date: date
    """The birth date of someone who turns 18 today."""
    schools: Sequence[str] = ()
    """Schools that are offered while typing."""
    hidden: Sequence[HiddenPerson] = ()
    """Whom the person dismissed or blocked."""
    discoverable: bool = True
    """Whether others may find the person; False while they pause."""
    first_time: bool = False
    saved: bool = False
    """Whether the profile was saved just now."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """One look-alike in the feed."""

    profile_id: UUID
    match_id: UUID
    position: int
    name: str
    school: str
    photo: str
    """Address of the thumbnail."""
    photo_full: str
    own_photo: str | None
    """Address of the thumbnail of the viewer's photo that matched."""
    similarity: int
    """Percent."""
    simulated: bool
    created_at: datetime
    is_new: bool = False
    """Whether the card is marked as one that the person has not seen yet."""

    @classmethod
    def from_entry(cls, entry: FeedEntry, *, is_new: bool = False) -> Self | None:
        """Return the card of a feed entry; None when the match is gone and the card should go."""
        if entry.match_id is None or entry.face_id is None or entry.similarity is None:
            return None
        own = entry.own_face_id
        return cls(
            profile_id=entry.profile_id,
            match_id=entry.match_id,
            position=entry.position,
            name=entry.name or _NAMELESS,
            school=entry.school or "",
            photo=photo_address(entry.face_id),
            photo_full=photo_address(entry.face_id, "full"),
            own_photo=photo_address(own) if own else None,
            similarity=round(entry.similarity * 100),
            simulated=bool(entry.simulated),
            created_at=entry.created_at,
            is_new=is_new,
        )

    @property
    def announcement(self) -> str:
        """What is read aloud when the card arrives."""
        return f"{self.name}, {self.similarity} %"


@dataclass(frozen=True, slots=True, kw_only=True)
class JobItem:
    """One photo of the person with what became of it."""

    job_id: UUID
    face_id: UUID
    thumbnail: str | None
    """None until a worker has made one of the photo; a refused photo never gets one."""
    status: JobStatus
    attempts: int
    max_attempts: int
    error_code: str | None
    error_message: str | None
    match_count: int
    elapsed_s: float | None
    """Seconds from the upload to the end; None while there is no end."""
    created_at: datetime
    reason: str = ""
    """Why it found few people or none; empty when it found more."""
    facts: Sequence[tuple[str, str]] = ()
    """The counts behind the reason, each with what it counts."""
    faces: Sequence[FaceButton] = ()
    """While it asks which face is the person's: one each, from the left to the right."""

    @classmethod
    def from_job(cls, job: Job, pool: MatchPool | None = None) -> Self:
        """Return the item of a job as its owner sees it; with few matches, *pool* tells why."""
        explained = pool if needs_explanation(job) else None
        finished = job.completed_at if job.status.is_final else None
        return cls(
            job_id=job.id,
            face_id=job.face_id,
            thumbnail=photo_address(job.face_id) if job.status is JobStatus.COMPLETED else None,
            status=job.status,
            attempts=job.attempts,
            max_attempts=job.max_attempts,
            error_code=job.error_code,
            error_message=job.error_message,
            match_count=job.match_count or 0,
            elapsed_s=(finished - job.created_at).total_seconds() if finished else None,
            created_at=job.created_at,
            reason=explain_few_matches(explained, job.match_count or 0) if explained else "",
            facts=list_pool_counts(explained) if explained else (),
            faces=face_buttons(job.faces),
        )

    @property
    def mood(self) -> str:
        """How the item looks: its status, or `asking`."""
        return "asking" if self.faces else self.status.value

    @property
    def headline(self) -> str:
        """Where the photo is, in a few words."""
        match self.status:
            case JobStatus.PENDING:
                return "Trying again soon" if self.attempts else "Waiting for its turn"
            case JobStatus.PROCESSING:
                return "Looking for look-alikes"
            case JobStatus.COMPLETED:
                return _found(self.match_count)
            case JobStatus.FAILED if self.faces:
                return "Which one is you?"
            case JobStatus.FAILED if self.error_code in _PHOTO_CODES:
                return "This photo cannot be used"
            case _:
                return "This photo was not matched"

    @property
    def detail(self) -> str:
        """What that means or what to do, in one sentence; may be empty."""
        match self.status:
            case JobStatus.PENDING if self.attempts:
                return f"Attempt {self.attempts} of {self.max_attempts} did not work out."
            case JobStatus.PENDING:
                return "It usually takes a few seconds."
            case JobStatus.PROCESSING:
                return "Your look-alikes appear here as they are found."
            case JobStatus.COMPLETED if self.match_count:
                return f"Matched in {_duration(self.elapsed_s)}" if self.elapsed_s else ""
            case JobStatus.COMPLETED:
                return self.reason or NEWCOMERS
            case JobStatus.FAILED if self.faces:
                return (
                    f"The photo shows {len(self.faces)} faces. Tap yours, and the search goes on; "
                    "without an answer the photo is deleted."
                )
            case _:
                return self.error_message or "Try again, or use another photo."

    @property
    def announcement(self) -> str:
        """What is read aloud when the item appears in this state; nothing on the way there."""
        if not self.status.is_final:
            return ""
        headline = self.headline if self.headline.endswith("?") else f"{self.headline}."
        return headline if self.match_count else f"{headline} {self.detail}"


def _found(count: int) -> str:
    if count == 0:
        return "No look-alike at first"
    return "1 look-alike found" if count == 1 else f"{count} look-alikes found"


def _duration(seconds: float) -> str:
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    if seconds < 119.5:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min"


@dataclass(frozen=True, slots=True, kw_only=True)
class FeedPage(Page):
    """The upload box, the person's photos and the look-alikes, newest first."""

    template: ClassVar[str] = "feed.html"
    section: ClassVar[str] = "feed"
    title: str = "Your look-alikes"
    signed_in: bool = True
    profile: Profile
    faces: Sequence[Face]
    jobs: Sequence[JobItem]
    """Newest first."""
    cards: Sequence[Card]
    last_position: int
    """The stream goes on after this position of the feed."""
    older_cursor: int | None
    """`before` of the next page back; None on the last one."""
    uploads_allowed: bool
    uploads_refused_reason: str | None = None
    """Why not, shown with a link to the profile."""
    max_upload_mb: int
    is_newest: bool = True
    """False on a page further back, which is not live and takes no photo."""

    @property
    def faces_without_job(self) -> list[Face]:
        """Photos whose job was cleaned up; they still take part in the matching."""
        listed = {job.face_id for job in self.jobs}
        return [face for face in self.faces if face.id not in listed]


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorPage(Page):
    """What went wrong, where there is no form to say it in."""

    template: ClassVar[str] = "error.html"
    status: int
    """The HTTP status."""
    message: str
    """What happened and what to do, in one or two sentences."""


@cache
def static_version() -> str:
    """Return what stands for the content of all static files in their addresses."""
    digest = hashlib.sha256()
    for path in sorted(STATIC_FOLDER.iterdir()):
        digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:12]


def static_address(path: str) -> str:
    """Return the address of a static file; it changes with the content of any of them."""
    return f"/static/{static_version()}/{path}"


def _day(moment: date) -> str:
    return f"{moment.day} {moment:%b %Y}"


def build_templates() -> Environment:
    """Return the templates: text is escaped, and a name that a template does not have is an error.

    They know `static(path)`, the address of a static file, `photo(face_id)` and the filter `day`.
    """
    templates = Environment(
        loader=FileSystemLoader(_TEMPLATE_FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        auto_reload=False,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    templates.globals["static"] = static_address
    templates.globals["photo"] = photo_address
    templates.filters["day"] = _day
    return templates


def render_page(templates: Environment, page: Page) -> str:
    """Return the whole document of a page."""
    return templates.get_template(page.template).render(page=page)


def render_card(templates: Environment, card: Card) -> str:
    """Return the `<li>` of a look-alike, the same on the page and in the stream."""
    return templates.get_template("_card.html").render(card=card).strip()


def render_job(templates: Environment, job: JobItem) -> str:
    """Return the `<li>` of a photo of the person, the same on the page and in the stream."""
    return templates.get_template("_job.html").render(job=job).strip()
