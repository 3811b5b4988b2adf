"""The only place where an error becomes an HTTP status, and the one shape of its body.

Below `/auth/v1` the body also has the fields of Supabase Auth: its clients look for `msg` and
`error_code`, and handle some codes in a way of their own, a weak password for one.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse

from automatch.errors import AutomatchError
from automatch.errors.auth import AuthError, CredentialsInvalidError, IssuerUnavailableError
from automatch.errors.embedder import AiBusyError
from automatch.errors.job import DecodeTimeoutError, ProfileNotFoundError
from automatch.errors.photo import PhotoRejectedError
from automatch.errors.request import (
    AgeNotAllowedError,
    ChangesUsedError,
    ConsentOutdatedError,
    ConsentRequiredError,
    EmailTakenError,
    FaceNotAskedError,
    ForbiddenError,
    InputInvalidError,
    LastOwnerError,
    LinkExpiredError,
    NotFoundError,
    PasswordsBusyError,
    PhotosFullError,
    PhotosWaitingError,
    ProfileIncompleteError,
    RateLimitedError,
    ReauthenticationNeededError,
    RequestError,
    RequestTimeoutError,
    SchoolExistsError,
    SchoolInUseError,
    SignInElsewhereError,
    TooManyConnectionsError,
    TooManyStreamsError,
    UrlTooLongError,
)
from automatch.errors.store import (
    DatabaseUnavailableError,
    JobsUnfinishedError,
    NotReadyError,
    PhotoStorageError,
    QueueFullError,
    QueuePausedError,
    StorageFullError,
)
from automatch.errors.upload import (
    BodyTimeoutError,
    BodyTooLargeError,
    FileEmptyError,
    FileMissingError,
    HeadersTooLargeError,
    ImageTypeError,
    UploadError,
    UploadsAtOnceError,
    UploadsBusyError,
)
from automatch.http.validation import describe_problems

STATUSES: dict[type[AutomatchError], int] = {
    AutomatchError: 500,
    AuthError: 401,
    CredentialsInvalidError: 400,
    IssuerUnavailableError: 503,
    RequestError: 422,
    NotFoundError: 404,
    SignInElsewhereError: 404,
    ForbiddenError: 403,
    AgeNotAllowedError: 403,
    ConsentRequiredError: 403,
    ConsentOutdatedError: 409,
    ChangesUsedError: 409,
    EmailTakenError: 422,
    LastOwnerError: 409,
    LinkExpiredError: 403,
    ReauthenticationNeededError: 400,
    FaceNotAskedError: 409,
    ProfileIncompleteError: 403,
    PasswordsBusyError: 503,
    PhotosFullError: 409,
    SchoolExistsError: 409,
    SchoolInUseError: 409,
    PhotosWaitingError: 429,
    RateLimitedError: 429,
    RequestTimeoutError: 408,
    TooManyConnectionsError: 503,
    TooManyStreamsError: 429,
    UrlTooLongError: 414,
    UploadError: 400,
    HeadersTooLargeError: 431,
    FileMissingError: 422,
    FileEmptyError: 422,
    BodyTooLargeError: 413,
    BodyTimeoutError: 408,
    UploadsAtOnceError: 429,
    UploadsBusyError: 503,
    ImageTypeError: 415,
    PhotoRejectedError: 422,
    ProfileNotFoundError: 401,
    DecodeTimeoutError: 503,
    DatabaseUnavailableError: 503,
    NotReadyError: 503,
    QueueFullError: 503,
    QueuePausedError: 503,
    JobsUnfinishedError: 503,
    StorageFullError: 503,
    AiBusyError: 503,
    PhotoStorageError: 503,
}
_RETRY_AFTER_S = 5
_RETRY_AFTER_OTHER_S: dict[type[AutomatchError], int] = {
    # A full queue is not worked off in a moment; a photo is.
    QueueFullError: 30,
}

REQUEST_INVALID = "request_invalid"
_HTTP_CODES = {403: "forbidden", 404: "not_found", 405: "method_not_allowed"}

_AUTH_PATH = "/auth/v1/"
_AUTH_CODES = {
    "credentials_invalid": "invalid_credentials",
    "email_taken": "user_already_exists",
    "link_expired": "otp_expired",
    "password_weak": "weak_password",
    "password_common": "weak_password",
    "token_missing": "no_authorization",
    "token_invalid": "bad_jwt",
    "token_expired": "bad_jwt",
    "forbidden": "no_authorization",
    "input_invalid": "validation_failed",
    "body_malformed": "bad_json",
    "rate_limited": "over_request_rate_limit",
    "internal": "unexpected_failure",
}
"""The codes of Supabase Auth by ours; a code that is not listed is sent as it is."""
_WEAK_PASSWORD_REASONS = {"password_weak": "length", "password_common": "pwned"}

log = structlog.get_logger(__name__)


class ErrorDetail(BaseModel):
    """What went wrong."""

    code: str
    """Stable; docs/errors.md lists all codes."""
    message: str
    """What happened and what to do, in plain words."""


class ErrorResponse(BaseModel):
    """The body of every error."""

    error: ErrorDetail


class AuthErrorResponse(ErrorResponse):
    """The body of an error below `/auth/v1`, with the fields of Supabase Auth beside ours."""

    code: int
    error_code: str
    msg: str
    weak_password: dict[str, list[str]] | None = None


def status_of(error: AutomatchError | type[AutomatchError]) -> int:
    """Return the HTTP status of an error: that of its nearest base class that has one."""
    error_type = error if isinstance(error, type) else type(error)
    return next(STATUSES[base] for base in error_type.__mro__ if base in STATUSES)


def error_model(path: str) -> type[ErrorResponse]:
    """Return the model of the errors that a route with this path gives."""
    return AuthErrorResponse if path.startswith(_AUTH_PATH) else ErrorResponse


def error_body(code: str, message: str, status: int, path: str) -> dict[str, Any]:
    """Return the body of an error on *path*."""
    body: dict[str, Any] = {"error": {"code": code, "message": message}}
    if path.startswith(_AUTH_PATH):
        body |= {"code": status, "error_code": _AUTH_CODES.get(code, code), "msg": message}
        if code in _WEAK_PASSWORD_REASONS:
            body["weak_password"] = {"reasons": [_WEAK_PASSWORD_REASONS[code]]}
    return body


def error_response(
    error: AutomatchError, *, path: str = "", message: str | None = None
) -> JSONResponse:
    """Return the answer to an error; of a failure on our side it says nothing more.

    Scripts of pages get another *message*, in the language of the page.
    """
    status = status_of(error)
    if status == 500:
        return internal_error_response(error, where="handler", path=path)
    body = error_body(error.code, message or error.message, status, path)
    return JSONResponse(body, status, headers_of(error))


def headers_of(error: AutomatchError) -> dict[str, str]:
    """Return the headers of the answer to an error: how to sign in, when to try again."""
    status = status_of(error)
    if status == 401:
        return {"www-authenticate": "Bearer"}
    if status in {429, 503}:
        seconds = _RETRY_AFTER_OTHER_S.get(type(error), _RETRY_AFTER_S)
        # Not in an error that the database raised.
        return {"retry-after": str(math.ceil(getattr(error, "retry_after_s", seconds)))}
    return {}


def internal_error_response(exc: Exception, *, where: str, path: str = "") -> JSONResponse:
    """Return the answer to a crash, and log its type; the message of *exc* may quote data."""
    log.error("request crashed", error=type(exc).__name__, where=where)
    message = "Something went wrong on our side; try again in a moment."
    return JSONResponse(error_body("internal", message, 500, path), 500)


def http_error_response(
    status: int, message: str, *, path: str = "", headers: Mapping[str, str] | None = None
) -> JSONResponse:
    """Return the answer to what the server refuses by itself; *message* has no full stop."""
    code = _HTTP_CODES.get(status, REQUEST_INVALID)
    return JSONResponse(error_body(code, f"{message}.", status, path), status, headers)


def method_not_allowed_response(allowed_methods: Sequence[str], *, path: str) -> JSONResponse:
    """Return the answer to a method that an address does not take."""
    headers = {"allow": ", ".join(allowed_methods)}
    return http_error_response(405, "Method Not Allowed", path=path, headers=headers)


def add_error_handlers(app: FastAPI) -> None:
    """Give every error of the application the one shape."""

    async def on_automatch_error(request: Request, exc: Exception) -> JSONResponse:
        assert isinstance(exc, AutomatchError)
        request.state.error = type(exc)
        return error_response(exc, path=request.url.path)

    async def on_invalid(request: Request, exc: Exception) -> JSONResponse:
        assert isinstance(exc, RequestValidationError)
        request.state.error = InputInvalidError
        message = describe_problems(exc.errors())
        body = error_body("input_invalid", message, 422, request.url.path)
        return JSONResponse(body, 422)

    async def on_http_error(request: Request, exc: Exception) -> JSONResponse:
        assert isinstance(exc, HTTPException)
        if isinstance(exc.__cause__, AutomatchError):
            request.state.refused_as = exc.__cause__.code
            # FastAPI reports every failure while it reads a body as a bad request.
            return error_response(exc.__cause__, path=request.url.path)
        return http_error_response(
            exc.status_code, exc.detail, path=request.url.path, headers=exc.headers
        )

    app.add_exception_handler(AutomatchError, on_automatch_error)
    app.add_exception_handler(RequestValidationError, on_invalid)
    app.add_exception_handler(HTTPException, on_http_error)
