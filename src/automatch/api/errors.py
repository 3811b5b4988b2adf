"""The only place where an error becomes an HTTP status, and the one shape it is told in."""

from __future__ import annotations

from typing import Any

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse

from automatch import errors
from automatch.api import auth_errors

STATUSES: dict[type[errors.AutomatchError], int] = {
    errors.AutomatchError: 500,
    errors.AuthError: 401,
    errors.CredentialsInvalidError: 400,
    errors.IssuerUnavailableError: 503,
    errors.RequestError: 422,
    errors.NotFoundError: 404,
    errors.SignInElsewhereError: 404,
    errors.ForbiddenError: 403,
    errors.AgeNotAllowedError: 403,
    errors.ConsentRequiredError: 403,
    errors.ConsentOutdatedError: 409,
    errors.EmailTakenError: 422,
    errors.FaceNotAskedError: 409,
    errors.ProfileIncompleteError: 403,
    errors.TooManyStreamsError: 429,
    errors.UploadError: 400,
    errors.HeadersTooLargeError: 431,
    errors.FileMissingError: 422,
    errors.FileEmptyError: 422,
    errors.BodyTooLargeError: 413,
    errors.BodyTimeoutError: 408,
    errors.ImageTypeError: 415,
    errors.PhotoRejectedError: 422,
    errors.ProfileNotFoundError: 401,
    errors.DatabaseUnavailableError: 503,
    errors.QueueFullError: 503,
    errors.QueuePausedError: 503,
    errors.JobsUnfinishedError: 503,
    errors.StorageFullError: 503,
    errors.AiBusyError: 503,
    errors.PhotoStorageError: 503,
}
_RETRY_AFTER_S = 5
_OTHER_S: dict[type[errors.AutomatchError], int] = {
    # A full queue is not worked off in a moment; a photo is.
    errors.QueueFullError: 30,
    errors.AiBusyError: 1,
}

_HTTP_CODES = {404: "not_found", 405: "method_not_allowed", 400: "request_invalid"}

log = structlog.get_logger(__name__)


def status_of(error: errors.AutomatchError) -> int:
    """Return the HTTP status of an error: that of its nearest kind."""
    return next(STATUSES[kind] for kind in type(error).__mro__ if kind in STATUSES)


def error_body(code: str, message: str, status: int, path: str) -> dict[str, Any]:
    """Return the body of an error: the one shape, and for *path* what others look for in it."""
    body: dict[str, Any] = {"error": {"code": code, "message": message}}
    if path.startswith(auth_errors.PATH):
        body |= auth_errors.auth_fields(code, message, status)
    return body


def error_response(error: errors.AutomatchError, *, path: str = "") -> JSONResponse:
    """Tell an error in the one shape; of what broke on our side, only that it did."""
    status = status_of(error)
    if status == 500:
        return internal_error_response(error, where="handler", path=path)
    body = error_body(error.code, error.message, status, path)
    return JSONResponse(body, status, headers_of(error))


def headers_of(error: errors.AutomatchError) -> dict[str, str]:
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
        assert isinstance(exc, errors.AutomatchError)
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
        if isinstance(exc.__cause__, errors.AutomatchError):
            # FastAPI calls whatever happens while it reads a body a bad request.
            return error_response(exc.__cause__, path=request.url.path)
        code = _HTTP_CODES.get(exc.status_code, "request_invalid")
        body = error_body(code, f"{exc.detail}.", exc.status_code, request.url.path)
        return JSONResponse(body, exc.status_code, dict(exc.headers or {}))

    app.add_exception_handler(errors.AutomatchError, on_automatch_error)
    app.add_exception_handler(RequestValidationError, on_invalid)
    app.add_exception_handler(HTTPException, on_http_error)
