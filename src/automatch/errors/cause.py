"""Whose matter it is that a job failed, or that an upload was refused."""

from __future__ import annotations

from enum import StrEnum

from automatch.errors.auth import AuthError
from automatch.errors.job import JobCancelledError, ProfileNotFoundError
from automatch.errors.photo import PhotoRejectedError
from automatch.errors.request import RequestError
from automatch.errors.upload import UploadError


class Cause(StrEnum):
    """Whose photo, act or fault it is that a photo was not searched for."""

    PERSON = "person"
    """Their photo or profile: nothing here is broken."""
    OPERATOR = "operator"
    """Somebody cancelled it."""
    SYSTEM = "system"
    """This installation: an operator finds out why, and retries the jobs."""


_OF_PEOPLE = (PhotoRejectedError, UploadError, RequestError, AuthError, ProfileNotFoundError)


def cause_of(code: str) -> Cause:
    """Return whose matter an error code is; one that nobody knows is the system's."""
    if code == JobCancelledError.code:
        return Cause.OPERATOR
    # Asked each time: a module of errors may have been imported since.
    is_of_people = any(code in kind.codes() for kind in _OF_PEOPLE)
    return Cause.PERSON if is_of_people else Cause.SYSTEM
