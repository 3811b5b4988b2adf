"""Errors of a request body that is not one photo."""

from __future__ import annotations

from automatch.errors.base import AutomatchError


class UploadError(AutomatchError):
    """The request does not carry one photo."""

    code = "upload_invalid"


class HeadersTooLargeError(UploadError):
    """The headers of the request are larger than 16 KiB, or more than 100."""

    code = "headers_too_large"


class BodyTooLargeError(UploadError):
    """The upload is larger than allowed."""

    code = "body_too_large"


class BodyTimeoutError(UploadError):
    """The upload arrived too slowly and was given up; try again on a better connection."""

    code = "body_timeout"


class UploadsAtOnceError(UploadError):
    """You are sending several photos at once; try again when one of them has arrived."""

    code = "uploads_at_once"


class UploadsBusyError(UploadError):
    """Many photos are being sent at the moment; try again in a few seconds."""

    code = "uploads_busy"


class BodyMalformedError(UploadError):
    """The request body could not be read as a form."""

    code = "body_malformed"


class FileMissingError(UploadError):
    """Send the photo as a multipart form field named `file`."""

    code = "file_missing"


class TooManyFilesError(UploadError):
    """Send one photo at a time, as a single form field named `file`."""

    code = "too_many_files"


class TooManyFieldsError(UploadError):
    """The form has more than 100 fields besides the photo; leave them out."""

    code = "too_many_fields"


class FileEmptyError(UploadError):
    """The file is empty; choose the photo again."""

    code = "file_empty"


class ImageTypeError(UploadError):
    """This is not a photo of a supported type; send a JPEG, PNG, WebP, HEIC or AVIF."""

    code = "image_type_unsupported"
