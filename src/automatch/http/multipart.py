"""Photos out of a multipart form, in memory: the field `file`, once or several times."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import Request

from automatch.errors.upload import BodyMalformedError, FileMissingError, TooManyFilesError

_MAX_FIELDS = 10


def form_of(schema: Mapping[str, Any]) -> dict[str, Any]:
    """Return what OpenAPI is told of a route that takes a form with a field `file`."""
    form = {"type": "object", "required": ["file"], "properties": {"file": schema}}
    content = {"multipart/form-data": {"schema": form}}
    return {"requestBody": {"required": True, "content": content}}


async def read_photo(request: Request, max_bytes: int) -> bytes:
    """Return the one photo of a form.

    Raises:
        UploadError: the body is no form, or not one of a single file.
    """
    [photo] = await read_photos(request, max_bytes, most=1)
    return photo


async def read_photos(request: Request, max_bytes: int, *, most: int) -> list[bytes]:
    """Return the photos of a form, one at least, in their order.

    Raises:
        UploadError: the body is no form, or one without files, or of too many.
    """
    if not request.headers.get("content-type", "").lower().startswith("multipart/form-data"):
        raise FileMissingError
    parser = _Form(request.headers, request.stream(), max_files=most, max_fields=_MAX_FIELDS)
    # In memory: a photo in a temporary file would be a copy that nobody erases.
    parser.spool_max_size = max_bytes
    try:
        form = await parser.parse()
        files = form.getlist("file")
        if not parser.is_complete:
            raise BodyMalformedError
        photos = [await file.read() for file in files if isinstance(file, UploadFile)]
        if not photos or len(photos) < len(files):
            raise FileMissingError
    except MultiPartException as exc:
        if "files" in exc.message:
            raise TooManyFilesError(_too_many(most)) from exc
        raise BodyMalformedError from exc
    except (KeyError, UnicodeError) as exc:
        raise BodyMalformedError from exc
    else:
        return photos
    finally:
        parser.close()


def _too_many(most: int) -> str | None:
    if most == 1:
        return None
    return f"Send at most {most} photos at a time, each as a form field named `file`."


class _Form(MultiPartParser):
    """A form that knows whether all of it has come."""

    is_complete = False

    def on_end(self) -> None:
        """Note that the last boundary was there: without it, the end of the photo is missing."""
        self.is_complete = True

    def close(self) -> None:
        """Forget the files; `FormData.close` would miss one whose end has not come."""
        for file in self._files_to_close_on_error:
            file.close()
