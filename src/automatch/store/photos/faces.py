"""Faces: uploads, lists, and photos to be erased. The files are in `automatch.photos`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from uuid import UUID

from psycopg.rows import class_row

from automatch.model.faces import Face, HeldPhoto
from automatch.model.jobs import JobStatus, Upload
from automatch.sql.statements import load
from automatch.store.call import call, call_row, call_rows, call_value
from automatch.store.database import Connection

_SQL = load("faces")


async def record_upload(
    conn: Connection, *, face_id: UUID, image_path: str, image_sha256: str, costly: bool = False
) -> Upload:
    """Add the caller's photo as a face with its job.

    The same photo again returns the ids of the first upload, with `is_new` False. With the id and
    path of that face it also queues a job, if there is none or the last one has failed. A *costly*
    photo takes a long time to decode, so it waits like a second photo, though it may be the first.

    Raises:
        ConsentRequiredError: the caller has not agreed to face matching.
        ProfileIncompleteError: school, gender or birth date is missing.
    """
    upload = await call_row(
        conn,
        "record_upload",
        class_row(Upload),
        face_id=face_id,
        image_path=image_path,
        image_sha256=image_sha256,
        costly=costly,
    )
    assert upload is not None
    return replace(upload, job_status=JobStatus(upload.job_status or JobStatus.FAILED))


async def check_upload_limits(conn: Connection, *, max_photos: int, max_waiting: int) -> None:
    """Return when the caller may have what they have, a photo of this transaction with it.

    Raises:
        PhotosFullError: they keep more than *max_photos* photos, refused ones aside.
        PhotosWaitingError: more than *max_waiting* of their jobs are pending.
    """
    await call(conn, "check_upload_limits", max_photos=max_photos, max_waiting=max_waiting)


async def get_search_wait(conn: Connection, most: int) -> float:
    """Return the seconds until the caller has had no more than *most* photos searched for in 24 h.

    A photo of this transaction counts; 0 when there are no more now.
    """
    return float(await call_value(conn, "get_search_wait", most=most))


async def list_faces(conn: Connection) -> list[Face]:
    """Return the caller's faces, newest first."""
    async with conn.cursor(row_factory=class_row(Face)) as cursor:
        await cursor.execute(_SQL["list"])
        return await cursor.fetchall()


async def delete_face(conn: Connection, face_id: UUID) -> None:
    """Erase one of the caller's faces with its jobs and matches; a worker deletes the file later.

    Raises:
        NotFoundError: the caller has no such face.
    """
    await call(conn, "delete_face", face_id=face_id)


async def find_viewable_photo(conn: Connection, face_id: UUID) -> str | None:
    """Return the path of a photo that the caller may see: their own, or that of a match."""
    path: str | None = await call_value(conn, "viewable_photo", face_id=face_id)
    return path


async def find_refused_photo(conn: Connection, face_id: UUID) -> str | None:
    """Return the path of a refused photo of the caller of which a picture is kept."""
    path: str | None = await call_value(conn, "refused_photo", face_id=face_id)
    return path


async def list_held_photos(
    conn: Connection, reason: str | None = None, limit: int = 50
) -> list[HeldPhoto]:
    """Return photos that wait for a decision, the longest waiting first.

    Of one *reason*, or all that an operator decides here.
    """
    return await call_rows(
        conn, "list_held_photos", class_row(HeldPhoto), reason=reason, limit=limit
    )


async def open_held_photo(conn: Connection, subject_id: UUID) -> str:
    """Return where a photo lies that waits, or is compared with one; the person is told.

    *subject_id* is of the photo, or of the account whose first one is meant.

    Raises:
        NotFoundError: there is no such photo.
    """
    path: str = await call_value(conn, "open_held_photo", id=subject_id)
    return path


async def decide_held_photo(conn: Connection, actor: str, face_id: UUID, *, release: bool) -> None:
    """Let a photo that waits be found and searched for, or refuse it.

    Raises:
        NotFoundError: it does not wait, or is gone.
    """
    await call(conn, "decide_held_photo", face_id=face_id, release=release, actor=actor)


async def list_erasures(conn: Connection, limit: int = 500) -> list[str]:
    """Return paths of photos whose files are to be deleted now, because their faces are."""
    cursor = await conn.execute(_SQL["list_erasures"], {"limit": limit})
    return [row[0] for row in await cursor.fetchall()]


async def forget_erasures(conn: Connection, image_paths: Sequence[str]) -> None:
    await conn.execute(_SQL["forget_erasures"], {"image_paths": list(image_paths)})


async def postpone_erasures(conn: Connection, errors: Mapping[str, str]) -> None:
    """Try the photos whose paths *errors* has again later; keep why each was not deleted."""
    parameters = {"image_paths": list(errors), "errors": list(errors.values())}
    await conn.execute(_SQL["postpone_erasures"], parameters)


async def list_known_photos(conn: Connection, image_paths: Sequence[str]) -> set[str]:
    """Return the *image_paths* that belong to a face."""
    cursor = await conn.execute(_SQL["list_known"], {"image_paths": list(image_paths)})
    return {row[0] for row in await cursor.fetchall()}


async def list_unfinished_photos(conn: Connection, image_paths: Sequence[str]) -> set[str]:
    """Return the *image_paths* that an open job still needs."""
    cursor = await conn.execute(_SQL["list_unfinished"], {"image_paths": list(image_paths)})
    return {row[0] for row in await cursor.fetchall()}


async def read_sweep_position(conn: Connection) -> str:
    """Return the path after which the sweep of stored copies goes on; empty at the beginning."""
    row = await (await conn.execute(_SQL["read_sweep_position"])).fetchone()
    return "" if row is None else row[0]


async def move_sweep_position(conn: Connection, image_path: str) -> None:
    await conn.execute(_SQL["move_sweep_position"], {"image_path": image_path})
