"""Photos from a multipart form: the field `file`, once or several times, kept in memory.

In memory, because a photo in a temporary file would be a copy that nobody erases. The middleware
bounds the size of the whole body.
"""

from __future__ import annotations

import codecs
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from python_multipart import MultipartParser
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import parse_options_header
from starlette.requests import Request

from automatch.errors.upload import BodyMalformedError, FileMissingError, TooManyFilesError

_MAX_TEXT_FIELDS = 10
_MAX_TEXT_BYTES = 1024**2
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


@dataclass(slots=True)
class _Part:
    disposition: bytes = b""
    is_photo: bool = False
    is_text: bool = False
    content: bytearray = field(default_factory=bytearray)


class _PhotoForm:
    """Collects the photos of a form as the parser reports its parts."""

    def __init__(self, max_files: int) -> None:
        self._max_files = max_files
        self._files = 0
        self._text_fields = 0
        self._part = _Part()
        self._header_name = bytearray()
        self._header_value = bytearray()
        self._photos: list[bytearray] = []
        self._has_text_as_photo = False
        self._is_complete = False

    def make_parser(self, boundary: bytes) -> MultipartParser:
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
            FileMissingError: there is no photo, or text in the place of one.
        """
        if not self._is_complete:
            raise BodyMalformedError
        if not self._photos or self._has_text_as_photo:
            raise FileMissingError
        return [bytes(photo) for photo in self._photos]

    def _on_part_begin(self) -> None:
        self._part = _Part()

    def _on_header_field(self, data: bytes, start: int, end: int) -> None:
        self._header_name += data[start:end]

    def _on_header_value(self, data: bytes, start: int, end: int) -> None:
        self._header_value += data[start:end]

    def _on_header_end(self) -> None:
        if self._header_name.lower() == b"content-disposition":
            self._part.disposition = bytes(self._header_value)
        self._header_name.clear()
        self._header_value.clear()

    def _on_headers_finished(self) -> None:
        _, parameters = parse_options_header(self._part.disposition)
        is_named_file = parameters[b"name"] == b"file"
        if b"filename" in parameters:
            self._files += 1
            if self._files > self._max_files:
                raise TooManyFilesError(_too_many_files_message(self._max_files))
            if is_named_file:
                self._part.is_photo = True
                self._photos.append(self._part.content)
        else:
            self._text_fields += 1
            if self._text_fields > _MAX_TEXT_FIELDS:
                raise BodyMalformedError
            self._part.is_text = True
            self._has_text_as_photo = self._has_text_as_photo or is_named_file

    def _on_part_data(self, data: bytes, start: int, end: int) -> None:
        if self._part.is_photo or self._part.is_text:
            self._part.content += data[start:end]
        if self._part.is_text and len(self._part.content) > _MAX_TEXT_BYTES:
            raise BodyMalformedError

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
