"""The values that travel between the layers; imports nothing of ours."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from enum import StrEnum
from typing import Any, Self
from uuid import UUID


class Gender(StrEnum):
    """Declared by the person, never guessed from a face."""

    MALE = "male"
    FEMALE = "female"

    @property
    def opposite(self) -> Gender:
        return Gender.FEMALE if self is Gender.MALE else Gender.MALE


class JobStatus(StrEnum):
    """Where a job is; docs/job-lifecycle.md draws who moves it."""

    PENDING = "pending"
    """Waiting for a worker, or for the time of its next attempt."""
    PROCESSING = "processing"
    """A worker holds it under a lease."""
    COMPLETED = "completed"
    """Searched; its 0 to 20 matches are written."""
    FAILED = "failed"
    """Ended with a reason; nothing more happens by itself."""

    @property
    def is_final(self) -> bool:
        return self in (JobStatus.COMPLETED, JobStatus.FAILED)


class Role(StrEnum):
    """What a token may be: the roles of a Supabase project."""

    ANON = "anon"
    AUTHENTICATED = "authenticated"
    SERVICE = "service_role"


@dataclass(frozen=True, slots=True)
class Claims:
    """Who asks, read from a token whose signature and times were checked."""

    role: Role
    subject: UUID | None = None
    session_id: UUID | None = None
    email: str | None = None
    expires_at: int | None = None
    """Seconds since the epoch."""

    def as_json(self) -> dict[str, str]:
        """Return what row level security reads from `request.jwt.claims`."""
        claims = {"role": self.role.value}
        if self.subject is not None:
            claims["sub"] = str(self.subject)
        if self.session_id is not None:
            claims["session_id"] = str(self.session_id)
        return claims


SERVICE = Claims(role=Role.SERVICE)
"""The system itself, at work for nobody in particular."""


@dataclass(frozen=True, slots=True)
class User:
    """Someone who can sign in."""

    id: UUID
    email: str
    app_metadata: dict[str, Any]
    user_metadata: dict[str, Any]
    created_at: datetime
    last_sign_in_at: datetime | None


@dataclass(frozen=True, slots=True)
class Profile:
    """What a person told about themselves."""

    id: UUID
    email: str | None
    name: str | None
    school: str | None
    gender: Gender | None
    birth_date: date | None
    profile_type: str
    discoverable: bool

    @property
    def is_complete(self) -> bool:
        return None not in (self.school, self.gender, self.birth_date)


@dataclass(frozen=True, slots=True)
class Consent:
    """The current consent text, and whether this person agreed to face matching."""

    version: str
    text: str
    granted: bool
    recorded_at: datetime | None


@dataclass(frozen=True, slots=True)
class Upload:
    """What an upload answers with."""

    face_id: UUID
    job_id: UUID
    job_status: JobStatus
    is_new: bool
    """False when the same person sent the same photo before."""


@dataclass(frozen=True, slots=True)
class FaceBox:
    """Where a face is, in shares of the upright photo's sides: it fits any copy of the photo."""

    left: float
    top: float
    width: float
    height: float

    @classmethod
    def of_corners(cls, left: float, top: float, right: float, bottom: float) -> Self:
        """Return the part of a box that lies inside the photo."""
        left, top, right, bottom = (
            round(min(max(side, 0.0), 1.0), 4) for side in (left, top, right, bottom)
        )
        return cls(left, top, round(right - left, 4), round(bottom - top, 4))

    @classmethod
    def from_json(cls, told: Mapping[str, float]) -> Self:
        """Return the box that the database keeps; whatever else it says is left out."""
        return cls(told["left"], told["top"], told["width"], told["height"])

    @classmethod
    def from_text(cls, told: str) -> Self:
        """Return the box that `as_text` told of."""
        left, top, width, height = map(float, told.split(","))
        return cls(left, top, width, height)

    def as_text(self) -> str:
        """Return left, top, width and height for a URL."""
        return ",".join(f"{share:.4f}" for share in (self.left, self.top, self.width, self.height))

    def overlap(self, other: FaceBox) -> float:
        """Return the share that two boxes have in common of what they cover together, 0 to 1."""
        across = min(self.left + self.width, other.left + other.width) - max(self.left, other.left)
        down = min(self.top + self.height, other.top + other.height) - max(self.top, other.top)
        common = max(across, 0.0) * max(down, 0.0)
        both = self.width * self.height + other.width * other.height - common
        return common / both if both > 0 else 0.0


@dataclass(frozen=True, slots=True)
class Face:
    """A photo of a person with what was measured on it; never its embedding."""

    id: UUID
    created_at: datetime
    embedding_model: str | None
    """None until a worker has seen the photo."""
    quality: dict[str, Any] | None


@dataclass(frozen=True, slots=True)
class Job:
    """A job as its owner sees it."""

    id: UUID
    face_id: UUID
    status: JobStatus
    attempts: int
    max_attempts: int
    error_code: str | None
    error_message: str | None
    created_at: datetime
    started_at: datetime | None
    completed_at: datetime | None
    match_count: int | None
    timings: dict[str, Any]
    """Seconds since `created_at` at which each stage was reached."""
    faces: tuple[FaceBox, ...] = ()
    """While it asks which face is its owner's: all of them, the largest first."""


@dataclass(frozen=True, slots=True)
class ClaimedJob:
    """A job as the worker that holds it sees it."""

    id: UUID
    token: int
    """The fence: every write of this attempt names it."""
    attempts: int
    max_attempts: int
    face_id: UUID
    image_path: str
    is_embedded: bool
    """Whether the face has an embedding of the active model already."""
    solo: bool
    """A worker was lost with it: it runs alone, so that it takes no other along."""
    pos: int
    """Its turn on the line; the next claim need not look before it."""
    chosen: FaceBox | None = None
    """Which of several faces its owner said is theirs."""
    model: str = "dlib"
    """The face model in use when it was claimed."""


@dataclass(frozen=True, slots=True)
class QueuedJob:
    """A job as the operator sees it: of anybody, and never with their name or photo."""

    id: UUID
    face_id: UUID
    user_id: UUID
    school: str
    status: JobStatus
    priority: int
    """1: a person's first photo; 2: any other; 3: work that nobody waits for."""
    attempts: int
    max_attempts: int
    error: dict[str, str] | None
    """`code` and `message`; while pending, why the attempt before did not work out."""
    created_at: datetime
    run_at: datetime | None
    """Not before this time; None while its school is paused."""
    started_at: datetime | None
    completed_at: datetime | None
    deferred: bool
    """Waits for `run_at` and not for its turn."""
    solo: bool
    worker_id: UUID | None
    lease_expires_at: datetime | None
    threshold: float | None
    """Of this run; None is that of `match_settings`."""
    match_count: int | None
    timings: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Queue:
    """The queue at a glance."""

    paused: bool
    """As a whole; schools may be paused besides."""
    concurrency: int | None
    """Jobs that one worker may hold at once; None leaves it to the workers' settings."""
    paused_schools: list[str]
    waiting: int
    """Jobs that have their turn on the line."""
    deferred: int
    """Jobs that wait for the time of a retry, or for their school to go on."""
    processing: int
    expired_leases: int
    """Jobs in `processing` that nobody works on any more; the next sweep takes them back."""
    workers: int
    """Workers that hold jobs this moment."""
    oldest_waiting_s: float | None


@dataclass(frozen=True, slots=True)
class Trial:
    """A woman and a man who do not exist, in a school of their own."""

    id: UUID
    school: str
    her_id: UUID
    his_id: UUID


@dataclass(frozen=True, slots=True)
class StatusCount:
    """How many jobs are in a status."""

    status: JobStatus
    count: int
    oldest_created_at: datetime
    avg_seconds: float | None
    """From the upload to the end; None for those that have not ended."""


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """What an operator did."""

    id: int
    recorded_at: datetime
    actor: str
    """Who they said they were."""
    action: str
    details: dict[str, Any]


class DuplicateState(StrEnum):
    """What an operator said of two accounts that look like one person."""

    OPEN = "open"
    """Nothing yet."""
    DISMISSED = "dismissed"
    """They are two people."""
    CONFIRMED = "confirmed"
    """They are one."""


@dataclass(frozen=True, slots=True)
class SuspectedDuplicate:
    """Two accounts whose closest photos look like one person; never with a name or a photo."""

    id: UUID
    profile_a_id: UUID
    profile_b_id: UUID
    same_gender: bool
    u: float
    """Distance of the two embeddings, sqrt(2 - 2 cos): the smaller, the surer."""
    model: str
    state: DuplicateState
    found_at: datetime
    decided_at: datetime | None
    decided_by: str | None


@dataclass(frozen=True, slots=True)
class FeedEntry:
    """One person in another's feed, at a position that only grows."""

    pos: int
    profile_id: UUID
    match_id: UUID | None
    """None when the match is gone and its card should go too."""
    name: str | None
    school: str | None
    face_id: UUID | None
    """The other person's face."""
    own_face_id: UUID | None
    similarity: float | None
    """Rounded to 0.05."""
    simulated: bool | None
    created_at: datetime


@dataclass(frozen=True, slots=True)
class MatchPool:
    """Among how many people somebody is searched for; counts are rounded down to tens or more.

    0 stands for fewer than 10: an exact count would tell of single people.
    """

    school: int
    other_gender: int
    findable: int
    """Of the other gender, with consent and a photo, not paused, and not hidden on either side."""
    hidden: int
    """People whom the person dismissed or blocked themselves; exact."""
    threshold: float
    over_threshold: int | None = None
    """How many of the findable reach the threshold now; None where no one photo is asked about."""


@dataclass(frozen=True, slots=True)
class HiddenPerson:
    """Somebody whom the caller dismissed or blocked."""

    profile_id: UUID
    name: str | None
    """None while the two could not be matched anyway."""
    is_blocked: bool
    is_dismissed: bool
    since: datetime


@dataclass(frozen=True, slots=True)
class EmbeddingModel:
    """A model with the similarity scale that is in use."""

    id: str
    midpoint: float
    width: float
    same_person_u: float
    scale_version: int


@dataclass(frozen=True, slots=True)
class StoredScale:
    """A version of a model's similarity scale."""

    version: int
    model: str
    midpoint: float
    width: float
    fit: dict[str, Any] | None
    """How it was calibrated; None for one that came with the model or was written by hand."""
    actor: str | None
    created_at: datetime
    is_in_use: bool
    matches: int
    """Matches that are scored with it this moment."""


@dataclass(frozen=True, slots=True)
class ComparablePeople:
    """Who there is to calibrate a scale on: people with a photo who can be found."""

    women: int
    men: int
    schools: int
    pairs: int
    """Of opposite gender, inside schools."""

    @property
    def total(self) -> int:
        return self.women + self.men


@dataclass(frozen=True, slots=True)
class ThresholdPreview:
    """What a threshold would mean for the people there are."""

    threshold: float
    people: int
    """Everybody who can be found."""
    looked_at: int
    """How many of them, taken by chance, the numbers come from."""
    matches: float
    """People who reach the threshold, for one person on average."""
    median_matches: float
    without_any: int
    """People of all for whom nobody reaches it."""


@dataclass(frozen=True, slots=True)
class MatchThreshold:
    """The threshold in use, and what a search again for everybody would cost."""

    threshold: float
    match_count: int
    """Most matches of one search."""
    photos: int
    """Jobs that a search again for everybody takes."""
    rerun_left: int
    """Photos that one which goes on has still to queue."""


@dataclass(frozen=True, slots=True)
class ModelChange:
    """A change of the face model that is not over."""

    model: str
    before: str
    state: str
    """`preparing`, `active` (the new model is in use) or `rolled_back`."""
    is_ready: bool
    """The new model has seen every photo."""
    total: int
    """Photos when it began."""
    done: int
    refused: int
    waiting: int
    """Photos that the model which is not in use has yet to see, as far as they are listed."""
    started_at: datetime
    activated_at: datetime | None


@dataclass(frozen=True, slots=True)
class RefusedPhotos:
    """Photos that a model does not see, for one reason."""

    code: str
    message: str
    faces: int
    examples: list[UUID]


@dataclass(frozen=True, slots=True)
class ModelComparison:
    """What another model would change, by searches for some photos."""

    photos: int
    matches_before: int
    matches_after: int
    in_both: int
    without_before: int
    """Photos that find nobody now."""
    without_after: int
    examples: list[dict[str, Any]]
    """The strongest that go (`after` is null) and come (`before` is null), by the ids of faces."""
