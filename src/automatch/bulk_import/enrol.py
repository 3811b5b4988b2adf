"""Enrolling the people of a list, a few at a time, behind everybody who uploads.

A row is kept like an upload: the photo durable first, then person, consent, face and job in one
transaction. Run again, the same list changes nothing that is there, so a run that was stopped is
gone on with by starting it again.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import time
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from uuid import UUID, uuid4

from automatch.bulk_import.photo_files import PhotoFiles
from automatch.bulk_import.refused import RefusedRows
from automatch.bulk_import.rows import Addresses, Row, person_of
from automatch.errors import AutomatchError
from automatch.errors.store import DatabaseUnavailableError, QueueFullError, StorageFullError
from automatch.photos.folder import PhotoStore, photo_path
from automatch.services.admission import Admission
from automatch.store import imports
from automatch.store.database import Database
from automatch.store.imports import ImportedPerson
from automatch.vision.decode.image_header import Limits
from automatch.vision.decode.upload_check import check_header

_SIDE_BY_SIDE = 4
_PAUSE_S, _PAUSE_MAX_S = 0.5, 15.0
_LOOK_EVERY_S = 1.0
_BUSY = (DatabaseUnavailableError, QueueFullError, StorageFullError)
"""Waited out: nothing is wrong with the row."""


class Outcome(StrEnum):
    """What became of a row."""

    NEW = "new"
    THERE = "there"
    """An earlier run has kept it."""
    REFUSED = "refused"


@dataclass(frozen=True)
class ImportContext:
    """What enrolling is done with."""

    db: Database
    photos: PhotoStore
    admission: Admission
    """With a bound of its own, so that uploads are never refused for the sake of an import."""
    files: PhotoFiles
    limits: Limits
    versions: Collection[str]
    """Of the consent texts there are."""


def check_rows(
    rows: Iterable[Row],
    means: ImportContext,
    refused: RefusedRows,
    *,
    photos_too: bool,
    told: Callable[[], object],
) -> int:
    """Look through a list without keeping anything; return how many rows it has.

    Args:
        rows: of the list.
        means: of which only files, limits and versions are used.
        refused: takes what is wrong.
        photos_too: whether to read the head of each photo and not only to see that it is there.
        told: hears of each row.
    """
    count = 0
    with Addresses() as addresses:
        for row in rows:
            count += 1
            told()
            try:
                addresses.check(row, person_of(row, means.versions))
                if photos_too:
                    check_header(means.files.read(row.file), means.limits)
                else:
                    means.files.check(row.file)
            except AutomatchError as exc:
                refused.add(row, exc.code, exc.message)
    return count


class Enrolment:
    """One run over one list."""

    def __init__(self, means: ImportContext, refused: RefusedRows, stop: asyncio.Event) -> None:
        self.id: UUID = uuid4()
        self._means = means
        self._refused = refused
        self._stop = stop

    async def enrol(self, rows: Iterator[Row], told: Callable[[Outcome], None]) -> None:
        """Keep the rows until they or the patience end; *told* hears of each."""
        # The lanes share one iterator: a generator is only entered between two awaits.
        with Addresses() as addresses:
            async with asyncio.TaskGroup() as group:
                for _ in range(_SIDE_BY_SIDE):
                    group.create_task(self._lane(rows, addresses, told))

    async def follow(self, told: Callable[[int, int], None]) -> None:
        """Wait until every photo was looked at; *told* hears how many there are and still wait."""
        while not self._stop.is_set():
            began = time.monotonic()
            with contextlib.suppress(DatabaseUnavailableError):
                async with self._means.db.connection() as conn:
                    photos, still_open = await imports.count_jobs(conn, self.id)
                told(photos, still_open)
                if not still_open:
                    return
            # Of a very long list even the counting is some work.
            await self._pause(max(_LOOK_EVERY_S, 10 * (time.monotonic() - began)))

    async def report(self, rows: Iterator[Row]) -> None:
        """Put the rows down whose photo could not be used."""
        async for found in imports.list_refusals(self._means.db, self.id):
            row = next((row for row in rows if row.number >= found.row_number), None)
            if row is not None:
                self._refused.add(row, found.code, found.message)

    async def finish(self, actor: str) -> None:
        """Put the run into the audit log."""
        async with self._means.db.connection() as conn:
            await imports.finish(conn, self.id, actor)

    async def _lane(
        self, rows: Iterator[Row], addresses: Addresses, told: Callable[[Outcome], None]
    ) -> None:
        while not self._stop.is_set() and (row := next(rows, None)) is not None:
            outcome: Outcome | None
            try:
                person = person_of(row, self._means.versions)
                # Before anything is waited for, so in the order of the list: the first has it.
                addresses.check(row, person)
                outcome = await self._patiently(row, person)
            except AutomatchError as exc:
                self._refused.add(row, exc.code, exc.message)
                outcome = Outcome.REFUSED
            if outcome is not None:
                told(outcome)

    async def _patiently(self, row: Row, person: ImportedPerson) -> Outcome | None:
        """Keep a row once there is room for it; None when stopped before that."""
        pause = _PAUSE_S
        while not self._stop.is_set():
            try:
                return await self._keep(row, person)
            except _BUSY:
                await self._pause(pause)
                pause = min(2 * pause, _PAUSE_MAX_S)
        return None

    async def _keep(self, row: Row, person: ImportedPerson) -> Outcome:
        means = self._means
        data = await asyncio.to_thread(means.files.read, row.file)
        check_header(data, means.limits)
        sha256 = hashlib.sha256(data).hexdigest()
        async with means.db.connection() as conn:
            if await imports.find_photo(
                conn, self.id, row.number, email=person.email, image_sha256=sha256
            ):
                return Outcome.THERE
        await means.admission.check()
        face_id = uuid4()
        path = photo_path(face_id)
        await means.photos.put_upload(path, data)
        try:
            async with means.db.connection() as conn:
                is_new = await imports.import_photo(
                    conn,
                    self.id,
                    row.number,
                    person,
                    face_id=face_id,
                    image_path=path,
                    image_sha256=sha256,
                )
        except DatabaseUnavailableError:
            # The commit may have gone through; a file without rows is swept up later.
            raise
        except AutomatchError:
            await means.photos.erase([path])
            raise
        if not is_new:
            await means.photos.erase([path])
            return Outcome.THERE
        means.admission.took()
        return Outcome.NEW

    async def _pause(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._stop.wait()
