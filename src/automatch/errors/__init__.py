"""Every error Auto-Match raises, on one screen.

AutomatchError
├── SettingsError                what the operator configured cannot work
│   ├── SecretsError             the secrets file is open to others or broken
│   │   └── InstallationMissingError  the data folder is of no installation
│   ├── InstanceRunningError     another process already serves this data folder
│   ├── ModelsFileError          models.toml of the data folder has a mistake
│   └── WrongPhotoStoreError     the photos belong to another database
├── BenchFailedError             the installation of a benchmark does not work
├── AuthError                    who is asking is not known
│   ├── TokenMissingError
│   ├── TokenInvalidError
│   ├── TokenExpiredError
│   ├── CredentialsInvalidError
│   └── IssuerUnavailableError
├── RequestError                 what was asked cannot be done as asked
│   ├── NotFoundError
│   ├── ForbiddenError
│   ├── RequestTimeoutError
│   ├── UrlTooLongError
│   ├── TooManyConnectionsError
│   ├── SignInElsewhereError     people sign in at Supabase Auth, or another issuer
│   ├── InputInvalidError
│   ├── EmailTakenError
│   ├── LastOwnerError           nobody else is an owner
│   ├── LinkExpiredError         a mailed link was used, or is too old
│   ├── PasswordWeakError
│   ├── PasswordCommonError
│   ├── ReauthenticationNeededError
│   ├── PasswordsBusyError       too many passwords wait to be hashed
│   ├── AgeNotAllowedError
│   ├── ConsentRequiredError
│   ├── ConsentOutdatedError
│   ├── ProfileIncompleteError
│   ├── TooManyStreamsError
│   ├── RateLimitedError         somebody did something too often
│   ├── SchoolUnknownError       none of the operator's list
│   ├── SchoolExistsError
│   ├── SchoolInUseError
│   ├── CodeInvalidError         no invitation to the school
│   ├── ChangesUsedError         school or gender were changed too often
│   ├── PhotosFullError
│   ├── PhotosWaitingError
│   ├── FaceNotAskedError        a photo does not ask (any more) which face is its owner's
│   ├── SubscriptionInvalidError
│   ├── ReceiptInvalidError
│   └── CalibrationError         the population is no ground for a similarity scale
├── UploadError                  the request body is not one photo
│   ├── HeadersTooLargeError
│   ├── BodyTooLargeError
│   ├── BodyTimeoutError
│   ├── UploadsAtOnceError
│   ├── UploadsBusyError
│   ├── BodyMalformedError
│   ├── FileMissingError
│   ├── TooManyFilesError
│   ├── TooManyFieldsError
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
│   ├── AnotherPersonError
│   ├── PhotoInReviewError
│   ├── ChallengeNeededError
│   ├── ChallengeFailedError
│   ├── PhotoRefusedError
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
│   ├── DecodeTimeoutError
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
├── MailError                    a mail was not sent
│   ├── MailRefusedError         the mail server takes no mail for an address
│   └── MailServerUnavailableError
└── StoreError                   Postgres or the storage of the photos does not answer
    ├── DatabaseUnavailableError
    │   └── MachineAwayError     one of a cluster, with the faces of some schools
    ├── NotReadyError
    ├── InstallationError
    ├── ServerUnfitError
    ├── DatabaseNewerError
    ├── DatabaseOlderError
    ├── MigrationError
    ├── EmbeddedPostgresError
    ├── ErasureLogError
    ├── BackupError
    │   ├── BackupDamagedError   it is not what its manifest says
    │   └── RestoreRefusedError  this is no place to restore it to
    ├── QueueFullError
    ├── QueuePausedError
    ├── JobsUnfinishedError
    ├── StorageFullError
    └── PhotoStorageError

`code` is stable: API bodies, `match_jobs.error_code` and `docs/errors.md` carry it.
The HTTP status of each lives in `http/errors.py` alone.
"""

from automatch.errors.base import AutomatchError

__all__ = ["AutomatchError"]
