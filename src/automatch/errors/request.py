"""Errors of a request that cannot be done as asked."""

from __future__ import annotations

from automatch.errors.base import AutomatchError


class RequestError(AutomatchError):
    """The request cannot be done as asked."""

    code = "request_invalid"


class NotFoundError(RequestError):
    """There is nothing here, or it is not yours to see."""

    code = "not_found"


class ForbiddenError(RequestError):
    """This is not allowed with the key or token that was sent."""

    code = "forbidden"


class RequestTimeoutError(RequestError):
    """The request did not arrive in time; send it again."""

    code = "request_timeout"


class UrlTooLongError(RequestError):
    """The address of the request is longer than 8 KiB."""

    code = "url_too_long"


class TooManyConnectionsError(RequestError):
    """The server has as many connections as it may; try again in a moment."""

    code = "too_many_connections"


class SignInElsewhereError(RequestError):
    """Nobody signs in here: sign in where your app does, and send the token that it gives you."""

    code = "sign_in_elsewhere"


class InputInvalidError(RequestError):
    """A field is missing or has a value that is not allowed."""

    code = "input_invalid"


class EmailTakenError(RequestError):
    """There is an account with this e-mail address already; sign in instead."""

    code = "email_taken"


class LastOwnerError(RequestError):
    """This is the only owner. Make somebody else an owner first."""

    code = "last_owner"


class LinkExpiredError(RequestError):
    """This link has expired, or was used already; ask for a new one."""

    code = "link_expired"


class PasswordWeakError(RequestError):
    """Choose a password of at least 8 characters."""

    code = "password_weak"


class PasswordCommonError(RequestError):
    """Many people use this password. Choose one that is harder to guess."""

    code = "password_common"


class ReauthenticationNeededError(RequestError):
    """Enter your current password too, or sign in again first."""

    code = "reauthentication_needed"


class PasswordsBusyError(RequestError):
    """Many people are signing in at the moment; try again in a few seconds."""

    code = "sign_in_busy"
    transient = True
    retry_after_s = 2


class AgeNotAllowedError(RequestError):
    """Auto-Match is for people of 18 years and older."""

    code = "age_not_allowed"


class ConsentRequiredError(RequestError):
    """Give your consent to face matching in your profile before uploading a photo."""

    code = "consent_required"


class ConsentOutdatedError(RequestError):
    """The consent text has changed; read the current version and consent to that one."""

    code = "consent_outdated"


class ProfileIncompleteError(RequestError):
    """Fill in your school, gender and birth date before uploading a photo."""

    code = "profile_incomplete"


class TooManyStreamsError(RequestError):
    """This account has too many live feeds open; close one of them."""

    code = "too_many_streams"


class RateLimitedError(RequestError):
    """This was done too often; try again later."""

    code = "rate_limited"

    def __init__(
        self,
        message: str | None = None,
        *,
        retry_after_s: float = 60,
        case: str = "",
        **values: object,
    ) -> None:
        super().__init__(message, case=case, **values)
        self.retry_after_s = retry_after_s


class SchoolUnknownError(RequestError):
    """There is no such school; choose one from the list."""

    code = "school_unknown"


class SchoolExistsError(RequestError):
    """This is a spelling of another school."""

    code = "school_exists"


class SchoolInUseError(RequestError):
    """People belong to this school: merge it with another one, or let them leave first."""

    code = "school_in_use"


class CodeInvalidError(RequestError):
    """This code does not work for your school. It may be mistyped, used up or out of date."""

    code = "code_invalid"


class ChangesUsedError(RequestError):
    """You have changed your school or gender as often as you can within a year."""

    code = "changes_used"


class PhotosFullError(RequestError):
    """You keep as many photos as you can. Delete one first."""

    code = "photos_full"


class PhotosWaitingError(RequestError):
    """Your other photos are still waiting for their turn. Try again when one is done."""

    code = "photos_waiting"
    retry_after_s = 30


class FaceNotAskedError(RequestError):
    """This photo does not ask which face is yours any more; load its job again."""

    code = "face_not_asked"


class SubscriptionInvalidError(RequestError):
    """This cannot be subscribed to."""

    code = "subscription_invalid"


class ReceiptInvalidError(RequestError):
    """This receipt was not signed here, or was changed."""

    code = "receipt_invalid"


class CalibrationError(RequestError):
    """There are too few people to fit a similarity scale to."""

    code = "calibration_impossible"
