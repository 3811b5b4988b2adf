"""Photos from a multipart form: the field `file`, once or several times, kept in memory.

In memory, because a photo in a temporary file would be a copy that nobody erases. The middleware
bounds the size of the whole body.
"""

from __future__ import annotations

import codecs
from collections.abc import Mapping
from io import BytesIO
from typing import Any

from python_multipart import MultipartParser
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import parse_options_header
from starlette.requests import Request

from automatch.errors.upload import (
    BodyMalformedError,
    FileMissingError,
    TooManyFieldsError,
    TooManyFilesError,
)

_MAX_OTHER_FIELDS = 100
_CHARSETS = {"utf-8", "ascii", "iso8859-1"}


def describe_form(file_schema: Mapping[str, Any]) -> dict[str, Any]:
    """Return the OpenAPI description of a route that takes a form with a field `file`."""
    form = {"type": "object", "required": ["file"], "properties": {"file": file_schema}}
    content = {"multipart/form-data": {"schema": form}}
    return {"requestBody": {"required": True, "content": content}}


async def read_photo(request: Request) -> bytes:
    """Return the one photo of a form.

    Raises:
        UploadError: the body is not a form, or not one of a single file.
    """
    [photo] = await read_photos(request, max_files=1)
    return photo


async def read_photos(request: Request, *, max_files: int) -> list[bytes]:
    """Return the photos of a form, at least one, in their order.

    Raises:
        UploadError: the body is not a form, or one without files, or with too many.
    """
    content_type = request.headers.get("content-type", "")
    if not content_type.lower().startswith("multipart/form-data"):
        raise FileMissingError
    form = _PhotoForm(max_files)
    try:
        _, parameters = parse_options_header(content_type)
        _check_charset(parameters.get(b"charset", b"utf-8").decode("latin-1"))
        parser = form.make_parser(parameters[b"boundary"])
        async for chunk in request.stream():
            parser.write(chunk)
        parser.finalize()
    except (FormParserError, KeyError, UnicodeError) as exc:
        raise BodyMalformedError from exc
    return form.finish()


class _PhotoForm:
    """Collects the photos of a form as the parser reports its parts.

    Any part named `file` is a photo: some clients send no plain file name with it, or none at all.
    """

    def __init__(self, max_files: int) -> None:
        self._max_files = max_files
        self._files = 0
        self._other_fields = 0
        self._disposition = b""
        self._header_name = bytearray()
        self._header_value = bytearray()
        # A `BytesIO` gives its content without a copy.
        self._photos: list[BytesIO] = []
        self._photo: BytesIO | None = None
        self._is_complete = False

    def make_parser(self, boundary: bytes) -> MultipartParser:
        if not boundary:
            # Two hyphens at the begin of a line of the photo would end it.
            raise BodyMalformedError
        return MultipartParser(
            boundary,
            {
                "on_part_begin": self._on_part_begin,
                "on_part_data": self._on_part_data,
                "on_header_field": self._on_header_field,
                "on_header_value": self._on_header_value,
                "on_header_end": self._on_header_end,
                "on_headers_finished": self._on_headers_finished,
                "on_end": self._on_end,
            },
        )

    def finish(self) -> list[bytes]:
        """Return the photos.

        Raises:
            BodyMalformedError: the last boundary is missing, and so is the end of a photo.
            FileMissingError: there is no photo.
        """
        if not self._is_complete:
            raise BodyMalformedError
        if not self._photos:
            raise FileMissingError
        return [photo.getvalue() for photo in self._photos]

    def _on_part_begin(self) -> None:
        self._disposition = b""
        self._photo = None

    def _on_header_field(self, data: bytes, start: int, end: int) -> None:
        self._header_name += data[start:end]

    def _on_header_value(self, data: bytes, start: int, end: int) -> None:
        self._header_value += data[start:end]

    def _on_header_end(self) -> None:
        if self._header_name.lower() == b"content-disposition":
            self._disposition = bytes(self._header_value)
        self._header_name.clear()
        self._header_value.clear()

    def _on_headers_finished(self) -> None:
        _, parameters = parse_options_header(self._disposition)
        is_photo = parameters[b"name"] == b"file"
        if is_photo or b"filename" in parameters:
            self._files += 1
            if self._files > self._max_files:
                raise TooManyFilesError(_too_many_files_message(self._max_files))
        else:
            self._other_fields += 1
            if self._other_fields > _MAX_OTHER_FIELDS:
                raise TooManyFieldsError
        if is_photo:
            self._photo = BytesIO()
            self._photos.append(self._photo)

    def _on_part_data(self, data: bytes, start: int, end: int) -> None:
        if self._photo is not None:
            self._photo.write(memoryview(data)[start:end])

    def _on_end(self) -> None:
        # Without the last boundary the end of the photo is missing.
        self._is_complete = True


def _check_charset(name: str) -> None:
    # Names of fields are compared as bytes, which holds for what agrees with ASCII.
    try:
        charset = codecs.lookup(name).name
    except LookupError as exc:
        raise BodyMalformedError from exc
    if charset not in _CHARSETS:
        raise BodyMalformedError


def _too_many_files_message(max_files: int) -> str | None:
    if max_files == 1:
        return None
    return f"Send at most {max_files} photos at a time, each as a form field named `file`."
