"""What becomes of a job that failed."""

from __future__ import annotations

from uuid import uuid4

import pytest

from automatch.errors import AutomatchError
from automatch.errors.embedder import EmbeddingInvalidError
from automatch.errors.job import JobCrashedError
from automatch.errors.photo import NoFaceError
from automatch.errors.store import DatabaseUnavailableError, StorageFullError
from automatch.model.jobs import ClaimedJob
from automatch.worker.failures import classify_failure


def a_claimed_job() -> ClaimedJob:
    return ClaimedJob(uuid4(), 1, 1, 5, uuid4(), "x", is_embedded=False, isolated=False, position=1)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (NoFaceError(), "no_face"),
        (TimeoutError(), "job_crashed"),
        (ValueError("secret"), "job_crashed"),
        (MemoryError(), "job_crashed"),
        (EmbeddingInvalidError("/models/secret"), "embedding_invalid"),
    ],
    ids=repr,
)
def test_reason_is_a_code_and_a_message_without_secrets(error: Exception, code: str) -> None:
    failure = classify_failure(a_claimed_job(), error)

    assert failure.code == code
    assert "secret" not in failure.message


@pytest.mark.parametrize(
    ("error", "action"),
    [
        (NoFaceError(), "fail"),
        (JobCrashedError(), "retry"),
        (EmbeddingInvalidError(), "retry"),
        (DatabaseUnavailableError(), "release"),
        (StorageFullError(), "release"),
    ],
    ids=repr,
)
def test_job_is_failed_or_retried_or_released(error: AutomatchError, action: str) -> None:
    assert classify_failure(a_claimed_job(), error).action == action
