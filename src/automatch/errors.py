"""Every error Auto-Match raises, on one screen.

AutomatchError
├── SettingsError                what the operator configured cannot work
│   ├── SecretsError             the secrets file is missing, open to others or broken
│   ├── InstanceRunningError     another process already serves this data folder
│   └── ModelsFileError          models.toml of the data folder has a mistake
├── AuthError                    who is asking is not known
│   ├── TokenMissingError
│   ├── TokenInvalidError
│   ├── TokenExpiredError
│   ├── CredentialsInvalidError
│   └── IssuerUnavailableError
├── RequestError                 what was asked cannot be done as asked
│   ├── NotFoundError
│   ├── ForbiddenError
│   ├── SignInElsewhereError     people sign in at Supabase Auth, or another issuer
│   ├── InputInvalidError
│   ├── EmailTakenError
│   ├── PasswordWeakError
│   ├── AgeNotAllowedError
│   ├── ConsentRequiredError
│   ├── ConsentOutdatedError
│   ├── ProfileIncompleteError
│   ├── TooManyStreamsError
│   ├── FaceNotAskedError        a photo does not ask (any more) which face is its owner's
│   ├── SubscriptionInvalidError
│   └── CalibrationError         the population is no ground for a similarity scale
├── UploadError                  the request body is not one photo
│   ├── HeadersTooLargeError
│   ├── BodyTooLargeError
│   ├── BodyTimeoutError
│   ├── BodyMalformedError
│   ├── FileMissingError
│   ├── TooManyFilesError
│   ├── FileEmptyError
│   └── ImageTypeError
├── PhotoRejectedError           the photo itself will never work: a job fails at once
│   ├── ImageDamagedError
│   ├── ImageTooLargeError
│   ├── ImageTooSmallError
│   ├── ImageBadShapeError
│   ├── ImageTooComplexError
│   ├── ImageTimeoutError
│   ├── NoFaceError
│   ├── SeveralFacesError
│   └── FaceUnclearError         there is one face, and it cannot be compared
│       ├── FaceTooSmallError
│       ├── FaceBlurredError
│       ├── FaceTooDarkError
│       ├── FaceTooBrightError
│       ├── FaceTurnedError
│       ├── FaceCutOffError
│       └── FaceLowConfidenceError
├── JobError                     a job cannot go on
│   ├── ProfileNotFoundError
│   ├── PhotoMissingError
│   ├── LeaseLostError
│   ├── JobCancelledError
│   └── JobCrashedError
├── EmbedderError                the model cannot be used
│   ├── ModelMissingError
│   ├── ModelDamagedError
│   ├── ModelUnknownError
│   ├── ModelNotReadyError       a change of the model is not as far as that
│   ├── ModelUnfitError          the detector lacks what the model needs
│   ├── ModelRefusedError        a file that was fetched is not the one that is meant
│   ├── ModelUnreachableError    a file could not be fetched
│   ├── LicenceNotAcceptedError
│   ├── EmbeddingInvalidError
│   ├── AiBusyError
│   └── AiUnavailableError
└── StoreError                   Postgres or the storage of the photos does not answer
    ├── DatabaseUnavailableError
    ├── DatabaseNewerError
    ├── MigrationError
    ├── EmbeddedPostgresError
    ├── QueueFullError
    ├── QueuePausedError
    ├── JobsUnfinishedError
    ├── StorageFullError
    └── PhotoStorageError

`code` is stable: API bodies, `match_jobs.error_code` and `docs/errors.md` carry it.
The HTTP status of each lives in `api/errors.py` alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from pathlib import Path


_REINSTALL = "reinstall the package face_recognition_models"


class AutomatchError(Exception):
    """Base class: catch this to catch everything Auto-Match raises.

    The class docstring of a subclass without arguments doubles as its message.
    """

    code: ClassVar[str] = "internal"
    transient: ClassVar[bool] = False
    """Whether the same work may succeed later without anyone acting."""

    def __init__(self, message: str | None = None) -> None:
        super().__init__(message or (self.__doc__ or "").strip())

    @property
    def message(self) -> str:
        return str(self.args[0])


class SettingsError(AutomatchError):
    """A setting cannot work; docs/settings.md names them all."""

    code = "settings_invalid"


class SecretsError(SettingsError):
    """The secrets file cannot be used."""

    code = "secrets_invalid"


class InstanceRunningError(SettingsError):
    """Another Auto-Match already runs on this data folder."""

    code = "instance_running"


class ModelsFileError(SettingsError):
    """The file models.toml of the data folder has a mistake."""

    code = "models_file_invalid"


class AuthError(AutomatchError):
    """Sign in first."""

    code = "token_invalid"


class TokenMissingError(AuthError):
    """This needs an access token: send `Authorization: Bearer <token>`."""

    code = "token_missing"


class TokenInvalidError(AuthError):
    """The access token is not valid; sign in again."""

    code = "token_invalid"


class TokenExpiredError(AuthError):
    """The access token has expired; refresh it or sign in again."""

    code = "token_expired"


class CredentialsInvalidError(AuthError):
    """The e-mail address or the password is wrong."""

    code = "credentials_invalid"


class IssuerUnavailableError(AuthError):
    """The keys that tell whether a token is genuine are not to be had; try again in a moment."""

    code = "issuer_unavailable"
    transient = True


class RequestError(AutomatchError):
    """The request cannot be done as asked."""

    code = "request_invalid"


class NotFoundError(RequestError):
    """There is nothing here, or it is not yours to see."""

    code = "not_found"


class ForbiddenError(RequestError):
    """This is not allowed with the key or token that was sent."""

    code = "forbidden"


class SignInElsewhereError(RequestError):
    """Nobody signs in here: sign in where your app does, and send the token that it gives you."""

    code = "sign_in_elsewhere"


class InputInvalidError(RequestError):
    """A field is missing or has a value that is not allowed."""

    code = "input_invalid"


class EmailTakenError(RequestError):
    """There is an account with this e-mail address already; sign in instead."""

    code = "email_taken"


class PasswordWeakError(RequestError):
    """Choose a password of at least 8 characters."""

    code = "password_weak"


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


class FaceNotAskedError(RequestError):
    """This photo does not ask which face is yours any more; load its job again."""

    code = "face_not_asked"


class SubscriptionInvalidError(RequestError):
    """This cannot be subscribed to."""

    code = "subscription_invalid"


class CalibrationError(RequestError):
    """There are too few people to fit a similarity scale to."""

    code = "calibration_impossible"


class UploadError(AutomatchError):
    """The request does not carry one photo."""

    code = "upload_invalid"


class HeadersTooLargeError(UploadError):
    """The headers of the request are larger than 16 KiB."""

    code = "headers_too_large"


class BodyTooLargeError(UploadError):
    """The upload is larger than allowed."""

    code = "body_too_large"


class BodyTimeoutError(UploadError):
    """The upload arrived too slowly and was given up; try again on a better connection."""

    code = "body_timeout"


class BodyMalformedError(UploadError):
    """The request body could not be read as a form."""

    code = "body_malformed"


class FileMissingError(UploadError):
    """Send the photo as a multipart form field named `file`."""

    code = "file_missing"


class TooManyFilesError(UploadError):
    """Send one photo at a time, as a single form field named `file`."""

    code = "too_many_files"


class FileEmptyError(UploadError):
    """The file is empty; choose the photo again."""

    code = "file_empty"


class ImageTypeError(UploadError):
    """This is not a photo of a supported type; send a JPEG, PNG, WebP, HEIC or AVIF."""

    code = "image_type_unsupported"


class PhotoRejectedError(AutomatchError):
    """The photo cannot be used."""

    code = "photo_rejected"


class ImageDamagedError(PhotoRejectedError):
    """The photo is damaged or incomplete; export or take it again."""

    code = "image_damaged"


class ImageTooLargeError(PhotoRejectedError):
    """The photo has too many pixels; send one of at most 50 megapixels."""

    code = "image_too_large_pixels"


class ImageTooSmallError(PhotoRejectedError):
    """The photo is too small; send one of at least 160 pixels on each side."""

    code = "image_too_small"


class ImageBadShapeError(PhotoRejectedError):
    """The photo is too long and narrow; crop it to the person."""

    code = "image_bad_shape"


class ImageTooComplexError(PhotoRejectedError):
    """The photo is built in an unusual way that costs too much to decode; export it again."""

    code = "image_too_complex"


class ImageTimeoutError(PhotoRejectedError):
    """Decoding the photo took too long; export it again."""

    code = "image_timeout"


class NoFaceError(PhotoRejectedError):
    """No face was found; use a photo that shows your face from the front in good light."""

    code = "no_face"


class SeveralFacesError(PhotoRejectedError):
    """More than one face was found; say which is yours, or use a photo that shows only you."""

    code = "several_faces"

    def __init__(
        self,
        count: int | None = None,
        boxes: tuple[tuple[float, float, float, float], ...] = (),
    ) -> None:
        found = f"{count} faces were found" if count else "More than one face was found"
        super().__init__(f"{found}; say which one is yours, or use a photo that shows only you.")
        self.count = count
        self.boxes = boxes
        """Left, top, right and bottom of each, in shares of the upright photo's width and height,
        the largest first; so they fit any copy of it."""
        self.copies: tuple[bytes, bytes] | None = None
        """The clean copy of the photo and its thumbnail, to show while its owner is asked."""


class FaceUnclearError(PhotoRejectedError):
    """The face cannot be compared; use a sharp photo from the front, in good light."""

    measured: float | None = None
    """What was measured, in the unit of the setting that holds the limit."""
    limit: float | None = None

    def __init__(
        self, message: str | None = None, measured: float | None = None, limit: float | None = None
    ) -> None:
        super().__init__(message)
        self.measured = measured
        self.limit = limit


class FaceTooSmallError(FaceUnclearError):
    """The face is too small in the photo; use one taken closer to you."""

    code = "face_too_small"


class FaceBlurredError(FaceUnclearError):
    """The face is blurred; hold the camera still, clean its lens, or choose a sharper photo."""

    code = "face_blurred"


class FaceTooDarkError(FaceUnclearError):
    """The face is too dark; turn towards a window or a lamp."""

    code = "face_too_dark"


class FaceTooBrightError(FaceUnclearError):
    """The face is too bright; step out of the direct light or switch the flash off."""

    code = "face_too_bright"


class FaceTurnedError(FaceUnclearError):
    """The face is turned to a side; look straight into the camera."""

    code = "face_turned"


class FaceCutOffError(FaceUnclearError):
    """The photo ends in the face; use one that shows the whole face with some room around it."""

    code = "face_cut_off"


class FaceLowConfidenceError(FaceUnclearError):
    """A face can only be guessed; use a photo from the front with nothing before your face."""

    code = "face_low_confidence"


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


class JobCrashedError(JobError):
    """Something went wrong while looking at the photo; it will be tried again."""

    code = "job_crashed"
    transient = True


class EmbedderError(AutomatchError):
    """The face model cannot be used."""

    code = "embedder_failed"
    transient = True


class ModelMissingError(EmbedderError):
    code = "model_missing"

    def __init__(self, path: Path, remedy: str | None = None) -> None:
        super().__init__(f"The model file {path} is missing; {remedy or _REINSTALL}.")
        self.path = path


class ModelDamagedError(EmbedderError):
    code = "model_damaged"

    def __init__(self, path: Path, remedy: str | None = None) -> None:
        super().__init__(
            f"The model file {path} is not the one it should be (its SHA-256 differs); "
            f"{remedy or _REINSTALL}."
        )
        self.path = path


class ModelUnknownError(EmbedderError):
    """There is no such model; `automatch models list` names them all."""

    code = "model_unknown"


class ModelUnfitError(EmbedderError):
    """The face detector in use does not give what this model needs."""

    code = "model_unfit"


class ModelNotReadyError(EmbedderError):
    """The change of the model is not as far as that; ask again in a moment."""

    code = "model_not_ready"


class ModelRefusedError(EmbedderError):
    """The file is not the one that the registry means."""

    code = "model_refused"
    transient = False


class ModelUnreachableError(EmbedderError):
    """The file could not be fetched; try again."""

    code = "model_unreachable"


class LicenceNotAcceptedError(EmbedderError):
    """The licence of this model forbids commercial use and has to be accepted by its name."""

    code = "licence_not_accepted"
    transient = False


class EmbeddingInvalidError(EmbedderError):
    """The face model gave an unusable embedding."""

    code = "embedding_invalid"


class AiBusyError(EmbedderError):
    """The AI service looks at as many photos as it can; try again in a moment."""

    code = "ai_busy"

    def __init__(self, message: str | None = None, *, retry_after_s: float = 1) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class AiUnavailableError(EmbedderError):
    """The AI service does not answer as it should."""

    code = "ai_unavailable"


class StoreError(AutomatchError):
    """The store does not answer."""

    code = "store_failed"


class DatabaseUnavailableError(StoreError):
    """The database does not answer; try again in a moment."""

    code = "db_unavailable"
    transient = True


class DatabaseNewerError(StoreError):
    """The database was migrated by a newer Auto-Match; install that version."""

    code = "db_newer"


class MigrationError(StoreError):
    """A migration could not be applied."""

    code = "migration_failed"


class EmbeddedPostgresError(StoreError):
    """The embedded Postgres could not be started."""

    code = "embedded_postgres_failed"


class QueueFullError(StoreError):
    """More photos wait than the server takes in; try again in a minute."""

    code = "queue_full"
    transient = True


class QueuePausedError(StoreError):
    """Jobs wait and the queue is paused; `automatch jobs resume` lets them go on."""

    code = "queue_paused"
    transient = True


class JobsUnfinishedError(StoreError):
    """Jobs wait and none has ended yet; see `automatch jobs stats`, or ask again in a moment."""

    code = "jobs_unfinished"
    transient = True


class StorageFullError(StoreError):
    """The server has no room for another photo; try again later."""

    code = "storage_full"
    transient = True


class PhotoStorageError(StoreError):
    """The storage of the photos does not answer; try again in a moment."""

    code = "storage_unavailable"
    transient = True
