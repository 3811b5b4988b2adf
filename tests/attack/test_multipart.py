"""Forms that nobody meant: whatever comes is one photo or a refusal of ours."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from itertools import pairwise

from hypothesis import example, given, settings
from hypothesis import strategies as st
from starlette.requests import Request
from starlette.types import Message

from automatch.errors.upload import UploadError
from automatch.http.multipart import read_photo
from tests.support.raw_http import BOUNDARY, form, part

_GOOD = form(part('name="file"; filename="a.jpg"', b"photo"))
_KIND = f"multipart/form-data; boundary={BOUNDARY}"
_PIECES = [
    f"--{BOUNDARY}".encode(),
    f"--{BOUNDARY}--".encode(),
    f"\r\n--{BOUNDARY}\r\n".encode(),
    b"\r\n",
    b"\r",
    b"\n",
    b"--",
    b"Content-Disposition: form-data; ",
    b'name="file"',
    b'; filename="a.jpg"',
    b"; filename*=utf-8''a%00b",
    b"Content-Disposition: ",
    b": ",
    b"\0",
    b"\xff\xfe",
    b"photo",
    _GOOD,
]
_CHARSETS = ["utf-8", "undefined", "utf-7", "utf-16", "idna", "punycode", "zlib", "x" * 99, '"', ""]


def read(body: Sequence[bytes], kind: str) -> bytes | None:
    """Return the photo in a body that comes in pieces, None when it is refused."""
    pieces = list(body) or [b""]

    async def receive() -> Message:
        data = pieces.pop(0)
        return {"type": "http.request", "body": data, "more_body": bool(pieces)}

    headers = [(b"content-type", kind.encode("latin-1"))]
    request = Request({"type": "http", "method": "POST", "headers": headers}, receive)
    try:
        return asyncio.run(read_photo(request))
    except UploadError:
        return None


@settings(max_examples=300)
@given(st.lists(st.sampled_from(_PIECES), max_size=14))
@example([_GOOD])
def test_any_order_of_the_parts_of_a_form_is_read_or_refused(body: list[bytes]) -> None:
    photo = read(body, _KIND)

    assert photo == b"photo" if body == [_GOOD] else True


@settings(max_examples=200)
@given(st.integers(0, len(_GOOD)), st.binary(max_size=6), st.integers(0, 6))
def test_any_change_of_a_form_is_read_or_refused(at: int, put: bytes, cut: int) -> None:
    read([_GOOD[:at] + put + _GOOD[at + cut :]], _KIND)


@settings(max_examples=100)
@given(st.lists(st.integers(0, len(_GOOD)), max_size=8))
def test_form_is_the_same_in_whatever_pieces_it_comes(cuts: list[int]) -> None:
    edges = [0, *sorted(cuts), len(_GOOD)]
    pieces = [_GOOD[start:end] for start, end in pairwise(edges)]

    assert read(pieces, _KIND) == b"photo"


@settings(max_examples=100)
@given(st.sampled_from(_CHARSETS), st.text(st.characters(max_codepoint=255), max_size=20))
def test_any_description_of_a_form_is_read_or_refused(charset: str, more: str) -> None:
    read([_GOOD], f"{_KIND}; charset={charset}")
    read([_GOOD], f"multipart/form-data; {more}")
    read([_GOOD], more)


def test_whole_form_cut_anywhere_is_refused() -> None:
    # Two hyphens and a line end may be missing: the boundary itself has come.
    whole = len(_GOOD.rstrip(b"\r\n"))
    for length in range(whole):
        assert read([_GOOD[:length]], _KIND) is None


def test_boundary_of_nothing_is_refused() -> None:
    body = b'--\r\nContent-Disposition: form-data; name="file"\r\n\r\nphoto\r\n----\r\n'
    for boundary in ("", '""', ' ; x="y"'):
        assert read([body], f"multipart/form-data; boundary={boundary}") is None
