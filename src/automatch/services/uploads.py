"""Taking a photo in: checked by its first bytes, kept with face and job.

The promise of the 202: the file is durable before the rows are, and the rows are one transaction.
A file without rows is swept up later; rows without a file cannot be.
"""

from __future__ import annotations

import hashlib
from uuid import uuid4

from starlette.requests import Request

from automatch.errors import AutomatchError
from automatch.errors.request import ConsentRequiredError, ProfileIncompleteError
from automatch.errors.store import DatabaseUnavailableError
from automatch.http.multipart import read_photo
from automatch.http.services import Services
from automatch.model.jobs import Upload
from automatch.model.people import Claims
from automatch.photos.folder import photo_path
from automatch.store import faces, profiles
from automatch.vision.decode.upload_check import check_header, limits_from

MESSAGE = "Photo uploaded! Matches generating in background..."


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
    data = await read_photo(request, services.settings.upload.max_bytes)
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
