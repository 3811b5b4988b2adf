"""Stored photos embedded with a new model: one that fails costs the others nothing."""

from __future__ import annotations

import asyncio
from typing import cast

import pytest

from automatch.errors.embedder import EmbeddingInvalidError
from automatch.errors.job import DecodeTimeoutError, JobCrashedError, PhotoMissingError
from automatch.errors.photo import NoFaceError
from automatch.errors.store import PhotoStorageError
from automatch.errors.upload import FileEmptyError, ImageTypeError
from automatch.photos.store import PhotoStore
from automatch.search.batch import BatchSearch
from automatch.settings.database import PoolSettings
from automatch.store.database import Database as Pool
from automatch.vision import FaceAnalyzer
from automatch.worker.embedding_backfill import EmbeddingBackfill
from automatch.worker.run import WorkerContext
from tests.support import build
from tests.support.build import connect, one
from tests.support.model_change import begin
from tests.support.postgres import Database
from tests.support.worker import FakeAnalyzer, NoPhotos, worker_settings

pytestmark = pytest.mark.anyio

_REFUSALS = (NoFaceError, PhotoMissingError, FileEmptyError, ImageTypeError)
_PASSING = (DecodeTimeoutError, JobCrashedError, TimeoutError, MemoryError)


async def _embed(database: Database, *errors: type[Exception]) -> tuple[int, int, bool]:
    """Embed a good photo between photos that fail; how many are embedded, refused, and if more."""
    with connect(database.owner, autocommit=True) as conn:
        person = build.a_profile(conn)
        faces = [build.a_face(conn, person, build.unit(0)) for _ in (*errors, None)]
        paths = [one(conn, "select image_path from faces where id = %s", face) for face in faces]
        begin(conn, "long", build.DIMENSIONS)
        failing = dict(zip(paths, errors, strict=False))

        def fail(path: str) -> None:
            if path in failing:
                raise failing[path]

        async with Pool(database.worker, PoolSettings(), name="automatch-worker") as db:
            context = WorkerContext(
                db,
                cast("PhotoStore", NoPhotos()),
                cast("FaceAnalyzer", FakeAnalyzer(fail)),
                worker_settings(),
                BatchSearch(db, max_bytes=0),
                asyncio.Semaphore(8),
                backfill_concurrency=4,
            )
            try:
                while await EmbeddingBackfill(context)._embed_next("long"):
                    pass
                raised = False
            except (EmbeddingInvalidError, PhotoStorageError):
                raised = True
        embedded = one(conn, "select count(*) from face_embeddings where model = 'long'")
        refused = one(conn, "select coalesce(sum(faces), 0) from list_refused_faces()")
        return embedded, refused, raised


async def test_photos_that_show_nobody_are_refused_and_the_others_embedded(
    database: Database,
) -> None:
    assert await _embed(database, *_REFUSALS) == (1, len(_REFUSALS), False)


async def test_photos_that_fail_for_a_passing_reason_are_left_for_another_attempt(
    database: Database,
) -> None:
    assert await _embed(database, *_PASSING) == (1, 0, False)


@pytest.mark.parametrize("error", [EmbeddingInvalidError, PhotoStorageError])
async def test_trouble_that_is_no_photo_s_fault_is_raised_after_the_others_are_stored(
    database: Database, error: type[Exception]
) -> None:
    assert await _embed(database, error, NoFaceError) == (1, 1, True)
