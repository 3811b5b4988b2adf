"""What becomes of a job that did not work out."""

from __future__ import annotations

from uuid import uuid4

import pytest

from automatch.errors.embedder import EmbeddingInvalidError
from automatch.errors.job import JobCrashedError
from automatch.errors.photo import NoFaceError
from automatch.errors.store import DatabaseUnavailableError, StorageFullError
from automatch.model.jobs import ClaimedJob
from automatch.worker.failures import refusal_of, sort_out


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
    refusal = refusal_of(a_claimed_job(), error)

    assert refusal.code == code
    assert "secret" not in refusal.message


def test_each_job_is_failed_or_tried_again_or_given_back() -> None:
    errors = {
        "fail": [NoFaceError()],
        "retry": [JobCrashedError(), EmbeddingInvalidError()],
        "release": [DatabaseUnavailableError(), StorageFullError()],
    }
    refusals = {
        what: [refusal_of(a_claimed_job(), error) for error in some]
        for what, some in errors.items()
    }
    sorted_out = sort_out([one for some in refusals.values() for one in some])

    assert sorted_out.fail == refusals["fail"]
    assert sorted_out.retry == refusals["retry"]
    assert sorted_out.release == [one.job for one in refusals["release"]]
