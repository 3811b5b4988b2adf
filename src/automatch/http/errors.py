"""The only place where an error becomes an HTTP status, and the one shape it is told in."""

from __future__ import annotations

from typing import Any

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse

from automatch.errors import AutomatchError
from automatch.errors.auth import AuthError, CredentialsInvalidError, IssuerUnavailableError
from automatch.errors.embedder import AiBusyError
from automatch.errors.job import ProfileNotFoundError
from automatch.errors.photo import PhotoRejectedError
from automatch.errors.request import (
    AgeNotAllowedError,
    ConsentOutdatedError,
    ConsentRequiredError,
    EmailTakenError,
    FaceNotAskedError,
    ForbiddenError,
    NotFoundError,
    ProfileIncompleteError,
    RequestError,
    SignInElsewhereError,
    TooManyStreamsError,
)
from automatch.errors.store import (
    DatabaseUnavailableError,
    JobsUnfinishedError,
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
)
from automatch.http import auth_errors

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
    EmailTakenError: 422,
    FaceNotAskedError: 409,
    ProfileIncompleteError: 403,
    TooManyStreamsError: 429,
    UploadError: 400,
    HeadersTooLargeError: 431,
    FileMissingError: 422,
    FileEmptyError: 422,
    BodyTooLargeError: 413,
    BodyTimeoutError: 408,
    ImageTypeError: 415,
    PhotoRejectedError: 422,
    ProfileNotFoundError: 401,
    DatabaseUnavailableError: 503,
    QueueFullError: 503,
    QueuePausedError: 503,
    JobsUnfinishedError: 503,
    StorageFullError: 503,
    AiBusyError: 503,
    PhotoStorageError: 503,
}
_RETRY_AFTER_S = 5
_OTHER_S: dict[type[AutomatchError], int] = {
    # A full queue is not worked off in a moment; a photo is.
    QueueFullError: 30,
    AiBusyError: 1,
}

_HTTP_CODES = {404: "not_found", 405: "method_not_allowed", 400: "request_invalid"}

log = structlog.get_logger(__name__)


def status_of(error: AutomatchError) -> int:
    """Return the HTTP status of an error: that of its nearest kind."""
    return next(STATUSES[kind] for kind in type(error).__mro__ if kind in STATUSES)


def error_body(code: str, message: str, status: int, path: str) -> dict[str, Any]:
    """Return the body of an error: the one shape, and for *path* what others look for in it."""
    body: dict[str, Any] = {"error": {"code": code, "message": message}}
    if path.startswith(auth_errors.PATH):
        body |= auth_errors.auth_fields(code, message, status)
    return body


def error_response(error: AutomatchError, *, path: str = "") -> JSONResponse:
    """Tell an error in the one shape; of what broke on our side, only that it did."""
    status = status_of(error)
    if status == 500:
        return internal_error_response(error, where="handler", path=path)
    body = error_body(error.code, error.message, status, path)
    return JSONResponse(body, status, headers_of(error))


def headers_of(error: AutomatchError) -> dict[str, str]:
    """Return what the answer to an error says besides: how to sign in, when to come back."""
    status = status_of(error)
    if status == 401:
        return {"www-authenticate": "Bearer"}
    if status in {429, 503}:
        return {"retry-after": str(_OTHER_S.get(type(error), _RETRY_AFTER_S))}
    return {}


def internal_error_response(exc: Exception, *, where: str, path: str = "") -> JSONResponse:
    """Tell that something broke, and log its kind; the message of *exc* may quote data."""
    log.error("request crashed", error=type(exc).__name__, where=where)
    message = "Something went wrong on our side; try again in a moment."
    return JSONResponse(error_body("internal", message, 500, path), 500)


def _field(place: tuple[int | str, ...]) -> str:
    # Where the JSON itself is broken, the place is a number of characters. And a name may be
    # anything that a stranger sent.
    names = [str(part)[:40] for part in place[1:]]
    return ".".join(names) if len(place) > 1 and isinstance(place[1], str) else "body"


def add_error_handlers(app: FastAPI) -> None:
    """Make every error of the application leave in the one shape."""

    async def on_automatch_error(request: Request, exc: Exception) -> JSONResponse:
        assert isinstance(exc, AutomatchError)
        return error_response(exc, path=request.url.path)

    async def on_invalid(request: Request, exc: Exception) -> JSONResponse:
        assert isinstance(exc, RequestValidationError)
        # What was sent is not repeated: it may be a password.
        problems = "; ".join(
            f"{_field(problem['loc'])}: {problem['msg']}" for problem in exc.errors()[:5]
        )
        body = error_body("input_invalid", f"{problems}.", 422, request.url.path)
        return JSONResponse(body, 422)

    async def on_http_error(request: Request, exc: Exception) -> JSONResponse:
        assert isinstance(exc, HTTPException)
        if isinstance(exc.__cause__, AutomatchError):
            # FastAPI calls whatever happens while it reads a body a bad request.
            return error_response(exc.__cause__, path=request.url.path)
        code = _HTTP_CODES.get(exc.status_code, "request_invalid")
        body = error_body(code, f"{exc.detail}.", exc.status_code, request.url.path)
        return JSONResponse(body, exc.status_code, dict(exc.headers or {}))

    app.add_exception_handler(AutomatchError, on_automatch_error)
    app.add_exception_handler(RequestValidationError, on_invalid)
    app.add_exception_handler(HTTPException, on_http_error)
