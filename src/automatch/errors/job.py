"""Errors of a job that cannot go on."""

from __future__ import annotations

from automatch.errors.base import AutomatchError


class JobError(AutomatchError):
    """The job cannot go on."""

    code = "job_failed"


class ProfileNotFoundError(JobError):
    """The profile was removed after the photo was uploaded."""

    code = "profile_not_found"


class PhotoMissingError(JobError):
    """The photo file is gone; upload the photo again."""

    code = "photo_missing"


class LeaseLostError(JobError):
    """Another worker has taken this job over."""

    code = "lease_lost"


class JobCancelledError(JobError):
    """The search for this photo was stopped by the operator."""

    code = "job_cancelled"


class DecodeTimeoutError(JobError):
    """The server was too busy to look at the photo."""

    code = "decode_timeout"
    transient = True


class JobCrashedError(JobError):
    """Something went wrong while looking at the photo."""

    code = "job_crashed"
    transient = True
