"""Import of the people of a list, a few at a time, with lower priority than uploads.

A row is stored like an upload: first the photo, durably, then person, consent, face and job in one
transaction. Importing a list again changes nothing that exists, so an interrupted run is resumed by
starting it again.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from uuid import UUID, uuid4

from automatch.auth.addresses import AddressKey
from automatch.bulk_import.photo_files import PhotoFiles
from automatch.bulk_import.rows import EmailCheck, RefusedRows, Row, parse_person
from automatch.errors import AutomatchError
from automatch.errors.request import EmailTakenError
from automatch.errors.store import DatabaseUnavailableError, QueueFullError, StorageFullError
from automatch.photos.store import PhotoStore
from automatch.services.photos.admission import Admission
from automatch.services.photos.photos import examine, stored_photo
from automatch.store.accounts import accounts
from automatch.store.database import Database
from automatch.store.people import imports
from automatch.store.people.imports import ImportedPerson
from automatch.store.protection import cases
from automatch.vision.decode.image_header import Limits
from automatch.vision.decode.upload_check import check_header

_CONCURRENCY = 4
_BACKOFF_S, _BACKOFF_MAX_S = 0.5, 15.0
_POLL_S = 1.0
_RETRIED = (DatabaseUnavailableError, QueueFullError, StorageFullError)
"""Errors after which a row is tried again: nothing is wrong with it."""


class Outcome(StrEnum):
    """The result of a row."""

    NEW = "new"
    EXISTING = "existing"
    """An earlier run has imported it."""
    REFUSED = "refused"


@dataclass(frozen=True)
class ImportContext:
    """Everything that an import uses."""

    db: Database
    photos: PhotoStore
    admission: Admission
    """With a limit of its own, so that an import never makes an upload be refused."""
    files: PhotoFiles
    limits: Limits
    consent_versions: Collection[str]
    """The existing versions of the consent text."""
    addresses: AddressKey


def check_rows(
    rows: Iterable[Row],
    context: ImportContext,
    refused: RefusedRows,
    *,
    check_photos: bool,
    on_row: Callable[[], object],
) -> int:
    """Check a list without storing anything; return the number of its rows.

    Args:
        rows: of the list.
        context: only its files, limits and consent versions are used.
        refused: receives the rows with an error.
        check_photos: whether to read the header of each photo, not only to check that it exists.
        on_row: called for each row.
    """
    count = 0
    with EmailCheck() as emails:
        for row in rows:
            count += 1
            on_row()
            try:
                emails.check(row, parse_person(row, context.consent_versions))
                if check_photos:
                    check_header(context.files.read(row.file), context.limits)
                else:
                    context.files.check(row.file)
            except AutomatchError as exc:
                refused.add(row, exc.code, exc.message)
    return count


class ImportRun:
    """One run over one list."""

    def __init__(self, context: ImportContext, refused: RefusedRows, stop: asyncio.Event) -> None:
        self.id: UUID = uuid4()
        self._context = context
        self._refused = refused
        self._stop = stop

    async def import_rows(self, rows: Iterator[Row], on_outcome: Callable[[Outcome], None]) -> None:
        """Import the rows until none are left or the run is stopped."""
        # The tasks can share the iterator, because none awaits while it is advanced.
        with EmailCheck() as emails:
            async with asyncio.TaskGroup() as group:
                for _ in range(_CONCURRENCY):
                    group.create_task(self._import_next(rows, emails, on_outcome))

    async def wait_for_jobs(self, on_poll: Callable[[int, int], None]) -> None:
        """Wait until every photo is processed; *on_poll* gets the counts of photos and jobs."""
        while not self._stop.is_set():
            began = time.monotonic()
            with contextlib.suppress(DatabaseUnavailableError):
                async with self._context.db.connection() as conn:
                    photos, open_jobs = await imports.count_jobs(conn, self.id)
                on_poll(photos, open_jobs)
                if not open_jobs:
                    return
            # Counting the jobs of a very long list takes time; spend a tenth of it at most.
            await self._sleep(max(_POLL_S, 10 * (time.monotonic() - began)))

    async def report_refused_photos(self, rows: Iterator[Row]) -> None:
        """Add the rows whose photo a worker refused to the refused rows."""
        async for found in imports.list_refusals(self._context.db, self.id):
            row = next((row for row in rows if row.number >= found.row_number), None)
            if row is not None:
                self._refused.add(row, found.code, found.message)

    async def invite(self, pause: timedelta) -> int:
        """Have those invited who never used their account, a *pause* after each other.

        Returns their number. Whose invitation of before still works is not among them.
        """
        async with self._context.db.connection() as conn:
            return await accounts.invite_imported(conn, self.id, pause)

    async def wait_for_invitations(self, on_poll: Callable[[int], None]) -> None:
        """Wait until no invitation waits to be mailed; *on_poll* gets how many do."""
        while not self._stop.is_set():
            with contextlib.suppress(DatabaseUnavailableError):
                async with self._context.db.connection() as conn:
                    waiting = await accounts.count_invitations(conn)
                on_poll(waiting)
                if not waiting:
                    return
            await self._sleep(_POLL_S)

    async def record_in_audit_log(self, actor: str) -> None:
        """Record the run in the audit log."""
        async with self._context.db.connection() as conn:
            await imports.finish(conn, self.id, actor)

    async def _import_next(
        self, rows: Iterator[Row], emails: EmailCheck, on_outcome: Callable[[Outcome], None]
    ) -> None:
        while not self._stop.is_set() and (row := next(rows, None)) is not None:
            outcome: Outcome | None
            try:
                person = parse_person(row, self._context.consent_versions)
                # Before the first await, so in the order of the list: the first row with an
                # address keeps it.
                emails.check(row, person)
                outcome = await self._import_with_retries(row, person)
            except AutomatchError as exc:
                self._refused.add(row, exc.code, exc.message)
                outcome = Outcome.REFUSED
            if outcome is not None:
                on_outcome(outcome)

    async def _import_with_retries(self, row: Row, person: ImportedPerson) -> Outcome | None:
        """Import a row as soon as there is room for it; None when stopped before that."""
        delay = _BACKOFF_S
        while not self._stop.is_set():
            try:
                return await self._import_row(row, person)
            except _RETRIED:
                await self._sleep(delay)
                delay = min(2 * delay, _BACKOFF_MAX_S)
        return None

    async def _import_row(self, row: Row, person: ImportedPerson) -> Outcome:
        context = self._context
        data = await asyncio.to_thread(context.files.read, row.file)
        sha256, _ = await asyncio.to_thread(examine, data, context.limits)
        async with context.db.connection() as conn:
            banned = await cases.find_ban(conn, context.addresses.hash(person.email))
        if banned:
            # As of somebody who has an account of their own.
            raise EmailTakenError(
                "This person has an account of their own; they add their photos themselves."
            )
        async with context.db.connection() as conn:
            if await imports.find_photo(
                conn, self.id, row.number, email=person.email, image_sha256=sha256
            ):
                return Outcome.EXISTING
        await context.admission.check()
        async with (
            stored_photo(context.photos, data, sha256) as stored,
            context.db.connection() as conn,
        ):
            stored.is_new = await imports.import_photo(
                conn,
                self.id,
                row.number,
                person,
                face_id=stored.face_id,
                image_path=stored.path,
                image_sha256=stored.sha256,
            )
        if not stored.is_new:
            return Outcome.EXISTING
        context.admission.count_accepted()
        return Outcome.NEW

    async def _sleep(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._stop.wait()
