"""Photos of people: accepting an upload, and handing a photo to somebody who may see it.

What the answer 202 promises: the file is durable before the rows are, and the rows are one
transaction. A file without rows is swept up later; rows without a file cannot be.
"""

from __future__ import annotations

import asyncio
import hashlib
import math
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import structlog

from automatch.errors import AutomatchError
from automatch.errors.job import JobCancelledError, PhotoMissingError
from automatch.errors.photo import PhotoRejectedError
from automatch.errors.request import (
    ConsentOutdatedError,
    ConsentRequiredError,
    NotFoundError,
    ProfileIncompleteError,
    RateLimitedError,
)
from automatch.errors.store import DatabaseUnavailableError, PhotoStorageError
from automatch.errors.upload import UploadError
from automatch.model.cases import OwnCase
from automatch.model.faces import Face
from automatch.model.jobs import Job, Upload
from automatch.model.matches import MatchPool
from automatch.model.people import Claims, Consent, Profile
from automatch.model.schools import Membership
from automatch.photos.store import PhotoStore, Size, photo_path
from automatch.search.explain import needs_explanation
from automatch.services.accounts.rate_limits import describe_wait
from automatch.services.photos.admission import Admission
from automatch.services.photos.photo_views import PhotoViews
from automatch.settings import Settings
from automatch.settings.limits import LimitSettings
from automatch.store.database import Connection, Database
from automatch.store.people import profiles, schools
from automatch.store.photos import faces
from automatch.store.photos.photo_challenges import require_challenge
from automatch.store.protection import cases
from automatch.store.queue import jobs
from automatch.store.replica import Reads
from automatch.vision.decode.image_header import Limits
from automatch.vision.decode.upload_check import check_header, is_costly

_FINAL_CODES = PhotoRejectedError.codes() | UploadError.codes() | {JobCancelledError.code}
"""Why the same photo would fail again, or may not be tried again."""

_CHECK_INTERVAL_S = 5.0

log = structlog.get_logger(__name__)


@dataclass(slots=True)
class StoredPhoto:
    """A photo whose file is durable, and whose rows are still to be written."""

    face_id: UUID
    path: str
    sha256: str
    is_new: bool = False
    """Whether rows were written for it; False when the same photo was there before."""


class PhotoCheck:
    """Asks every few seconds, if anybody wants to know, whether photos can be stored."""

    def __init__(self, photos: PhotoStore, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._photos = photos
        self._clock = clock
        self._is_usable = True
        self._stale_at = -math.inf
        self._checking = asyncio.Lock()

    async def check(self) -> None:
        """Return when photos can be stored.

        Raises:
            PhotoStorageError: the store does not answer, is read-only or is another one.
        """
        async with self._checking:
            if self._clock() >= self._stale_at:
                problem = None
                try:
                    await self._photos.check()
                except PhotoStorageError as exc:
                    problem = exc.reason or exc.message
                if problem and self._is_usable:
                    log.error("photos cannot be stored", reason=problem)
                elif problem is None and not self._is_usable:
                    log.info("photos can be stored again")
                self._is_usable = problem is None
                self._stale_at = self._clock() + _CHECK_INTERVAL_S
        if not self._is_usable:
            raise PhotoStorageError


class Uploads:
    """Accepts photos of people who have agreed to face matching."""

    def __init__(
        self,
        db: Database,
        photos: PhotoStore,
        admission: Admission,
        limits: Limits,
        per_person: LimitSettings,
        *,
        needs_challenge: bool = False,
    ) -> None:
        self._db = db
        self._photos = photos
        self._admission = admission
        self._limits = limits
        self._per_person = per_person
        self._needs_challenge = needs_challenge

    async def check_allowed(self, claims: Claims) -> None:
        """Return when this person may upload a photo now; asked before a byte of it is read.

        Raises:
            QueueFullError: too many photos wait already.
            StorageFullError: there is no room for another photo.
            ConsentRequiredError: the person has not agreed to face matching.
            ConsentOutdatedError: they agreed to a text that was replaced since.
            ProfileIncompleteError: school, gender or birth date is missing.
        """
        await self._admission.check()
        async with self._db.as_user(claims) as conn:
            consent = await profiles.load_consent(conn)
            if not consent.granted:
                raise ConsentRequiredError
            if consent.outdated:
                raise ConsentOutdatedError
            if not (await profiles.load_profile(conn)).is_complete:
                raise ProfileIncompleteError

    async def accept(self, claims: Claims, photo: bytes) -> Upload:
        """Keep a photo with its face and job; the same photo again gives the same ids.

        A photo whose job is gone, or has failed for a reason that is not its own, gets a new job.

        Raises:
            PhotoRejectedError: its header shows that it cannot be used.
            StorageFullError: there is no room for it.
            PhotosFullError: the person keeps as many photos as they may.
            PhotosWaitingError: as many of their photos wait as may.
            RateLimitedError: as many were searched for within 24 hours as may.
        """
        sha256, costly = await asyncio.to_thread(examine, photo, self._limits)

        async with stored_photo(self._photos, photo, sha256) as stored:
            upload = await self._record(claims, stored, costly=costly)
            stored.is_new = upload.is_new
        if _may_run_again(upload):
            # The file of the earlier upload may have been deleted since.
            again = StoredPhoto(upload.face_id, photo_path(upload.face_id), stored.sha256)
            await self._photos.put_upload(again.path, photo)
            upload = replace(await self._record(claims, again, costly=costly), is_new=True)
        if upload.is_new:
            self._admission.count_accepted()
        return upload

    async def _record(self, claims: Claims, stored: StoredPhoto, *, costly: bool) -> Upload:
        async with self._db.as_user(claims) as conn:
            upload = await faces.record_upload(
                conn,
                face_id=stored.face_id,
                image_path=stored.path,
                image_sha256=stored.sha256,
                costly=costly,
            )
            is_queued = upload.face_id == stored.face_id
            if upload.is_new and self._needs_challenge:
                await require_challenge(conn, upload.face_id)
            if is_queued and self._per_person.enabled:
                await faces.check_upload_limits(
                    conn,
                    max_photos=self._per_person.photos_kept,
                    max_waiting=self._per_person.jobs_waiting,
                )
                await self._check_searches(conn)
            return upload

    async def _check_searches(self, conn: Connection) -> None:
        most = self._per_person.photo_searches
        wait_s = await faces.get_search_wait(conn, most)
        if wait_s > 0:
            raise RateLimitedError(
                f"You've had {most} photos searched for in 24 hours. "
                f"You can add another in {describe_wait(wait_s)}.",
                retry_after_s=wait_s,
                case="photo_searches",
                most=most,
            )


def _may_run_again(upload: Upload) -> bool:
    """Return whether the job of an earlier upload is gone, or did not fail because of the photo."""
    if upload.is_new:
        return False
    failed = upload.error_code is not None and upload.error_code not in _FINAL_CODES
    return failed or upload.job_id is None


def examine(photo: bytes, limits: Limits) -> tuple[str, bool]:
    """Return the SHA-256 of a photo, and whether it takes long to decode.

    For a thread: of a large photo it takes tens of milliseconds.

    Raises:
        UploadError: it is no photo of a supported type.
        PhotoRejectedError: its header shows that it cannot be used.
    """
    check_header(photo, limits)
    return hashlib.sha256(photo).hexdigest(), is_costly(photo)


@asynccontextmanager
async def stored_photo(photos: PhotoStore, photo: bytes, sha256: str) -> AsyncIterator[StoredPhoto]:
    """Write the file of a photo, then let the block write its rows and set `is_new`.

    The file is erased again when the block fails or finds that the photo was there before.

    Raises:
        StorageFullError: there is no room for the file.
    """
    face_id = uuid4()
    stored = StoredPhoto(face_id, photo_path(face_id), sha256)
    await photos.put_upload(stored.path, photo)
    try:
        yield stored
    except DatabaseUnavailableError:
        # The commit may have succeeded and only its answer been lost: then the file is needed,
        # and if not, the sweep of stray files finds it.
        raise
    except AutomatchError:
        await photos.erase([stored.path])
        raise
    if not stored.is_new:
        await photos.erase([stored.path])


@dataclass(frozen=True, slots=True)
class OwnPhotos:
    """All that the page of a person's own photos shows."""

    profile: Profile
    consent: Consent
    faces: Sequence[Face]
    jobs: Sequence[Job]
    """Newest first."""
    pool: MatchPool | None
    """Among how many people the person is searched for, when a job found few of them."""
    cases: Sequence[OwnCase]
    membership: Membership | None


async def load_own_photos(db: Database, claims: Claims, *, max_jobs: int) -> OwnPhotos:
    """Return what the page of a person's own photos shows.

    Raises:
        ProfileNotFoundError: the account was deleted while its token lives on.
    """
    async with db.as_user(claims) as conn:
        own_jobs = await jobs.list_jobs(conn, max_jobs)
        explain = any(needs_explanation(job) for job in own_jobs)
        return OwnPhotos(
            profile=await profiles.load_profile(conn),
            consent=await profiles.load_consent(conn),
            faces=await faces.list_faces(conn),
            jobs=own_jobs,
            pool=await jobs.load_pool(conn) if explain else None,
            cases=await cases.list_own_cases(conn),
            membership=await schools.load_membership(conn),
        )


async def load_visible_photo(
    db: Reads,
    photos: PhotoStore,
    claims: Claims,
    face_id: UUID,
    size: Size,
    *,
    views: PhotoViews,
) -> bytes:
    """Return the clean copy of a photo, as JPEG, if this person may see it now, and note that.

    Raises:
        NotFoundError: they may not, or no worker has processed the photo yet.
    """
    async with db.as_user(claims) as conn:
        path = await faces.find_viewable_photo(conn, face_id)
    jpeg = await photos.read_copy(path, size) if path else None
    if jpeg is None:
        raise NotFoundError
    if claims.subject is not None:
        views.note(claims.subject, face_id, size)
    return jpeg


async def load_refused_photo(
    db: Database, photos: PhotoStore, claims: Claims, face_id: UUID
) -> bytes:
    """Return the picture of a refused photo of this person, as JPEG.

    Raises:
        NotFoundError: it is not theirs, was not refused, or the picture is not kept any more.
    """
    async with db.as_user(claims) as conn:
        path = await faces.find_refused_photo(conn, face_id)
    if path is None:
        raise NotFoundError
    try:
        return await photos.read(path)
    except PhotoMissingError as exc:
        raise NotFoundError from exc


def shown_until(settings: Settings) -> datetime:
    """Return the time before which a refused photo ended that is not shown any more."""
    return datetime.now(UTC) - timedelta(seconds=settings.retention.refused_uploads_s)
