"""Taking a photo in: one file out of a form, checked by its first bytes, kept with face and job.

The promise of the 202: the file is durable before the rows are, and the rows are one transaction.
A file without rows is swept up later; rows without a file cannot be.
"""

from __future__ import annotations

import hashlib
from uuid import uuid4

from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import Request

from automatch.api.services import Services
from automatch.errors import (
    AutomatchError,
    BodyMalformedError,
    ConsentRequiredError,
    DatabaseUnavailableError,
    FileMissingError,
    ProfileIncompleteError,
    TooManyFilesError,
)
from automatch.model import Claims, Upload
from automatch.store import faces, profiles
from automatch.store.photos import photo_path
from automatch.vision.header import check_header, limits_from

MESSAGE = "Photo uploaded! Matches generating in background..."
_MAX_FIELDS = 10


async def take_photo(request: Request, services: Services, claims: Claims) -> Upload:
    """Keep the photo of a form's `file` field; the same photo again gives the same ids.

    Raises:
        QueueFullError: too many photos wait already; asked before a byte is read.
        StorageFullError: there is no room for it; likewise, and once more when it is written.
        ConsentRequiredError: the person has not agreed; likewise asked first.
        ProfileIncompleteError: likewise, school, gender or birth date is missing.
        UploadError: the body is not one photo within the limits.
        PhotoRejectedError: its header tells that it is of no use.
    """
    await services.admission.check()
    async with services.db.as_user(claims) as conn:
        if not (await profiles.load_consent(conn)).granted:
            raise ConsentRequiredError
        if not (await profiles.load_profile(conn)).is_complete:
            raise ProfileIncompleteError
    data = await _read_file(request, services.settings.upload.max_bytes)
    check_header(data, limits_from(services.settings))

    face_id = uuid4()
    path = photo_path(face_id)
    await services.photos.put_upload(path, data)
    try:
        async with services.db.as_user(claims) as conn:
            upload = await faces.record_upload(
                conn,
                face_id=face_id,
                image_path=path,
                image_sha256=hashlib.sha256(data).hexdigest(),
            )
    except DatabaseUnavailableError:
        # The commit may have gone through and only its answer been lost: then this file is
        # needed, and if not, the sweep of stray files finds it.
        raise
    except AutomatchError:
        await services.photos.erase([path])
        raise
    if upload.is_new:
        services.admission.took()
    else:
        await services.photos.erase([path])
    return upload


async def _read_file(request: Request, max_bytes: int) -> bytes:
    if not request.headers.get("content-type", "").lower().startswith("multipart/form-data"):
        raise FileMissingError
    parser = _Form(request.headers, request.stream(), max_files=1, max_fields=_MAX_FIELDS)
    # In memory: a photo in a temporary file would be a copy that nobody erases.
    parser.spool_max_size = max_bytes
    try:
        form = await parser.parse()
        file = form.get("file")
        if not parser.is_complete:
            raise BodyMalformedError
        if not isinstance(file, UploadFile):
            raise FileMissingError
        return await file.read()
    except MultiPartException as exc:
        if "files" in exc.message:
            raise TooManyFilesError from exc
        raise BodyMalformedError from exc
    except (KeyError, UnicodeError) as exc:
        raise BodyMalformedError from exc
    finally:
        parser.close()


class _Form(MultiPartParser):
    """A form that knows whether all of it has come."""

    is_complete = False

    def on_end(self) -> None:
        """Note that the last boundary was there: without it, the end of the photo is missing."""
        self.is_complete = True

    def close(self) -> None:
        """Forget the file; `FormData.close` would miss one whose end has not come."""
        for file in self._files_to_close_on_error:
            file.close()
