"""Brings a model file here, from its address or from a file of the operator.

What has arrived is kept in `NAME.part`, so that a connection that broke costs nothing but what was
on its way. Only whole files whose SHA-256 is that of the registry get their name. Proxies are those
that the environment names (HTTPS_PROXY, HTTP_PROXY, NO_PROXY).
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO
from urllib.parse import urljoin, urlsplit

import httpx2

from automatch.errors.embedder import ModelMissingError, ModelRefusedError, ModelUnreachableError
from automatch.vision.models.onnx_model import has_external_data
from automatch.vision.models.registry import ModelFile, is_safe_address

_TIMEOUT = httpx2.Timeout(30, connect=15)
_MOST_REDIRECTS = 5
_TRIES = 4
"""So many connections in a row may break without a byte."""
_CHUNK = 1 << 16

Progress = Callable[[int], None]
"""Told how many bytes are here."""


def fetch_file(
    file: ModelFile, folder: Path, on_progress: Progress, *, brought: Path | None = None
) -> Path:
    """Return the path of *file* in *folder*, brought there if need be.

    Args:
        file: what is wanted.
        folder: made when it is missing.
        on_progress: called as bytes arrive.
        brought: a file of the operator to take instead of the address.

    Raises:
        ModelMissingError: *brought* is not there, or there is neither a file nor an address.
        ModelRefusedError: what arrived is not the file that is meant.
        ModelUnreachableError: it could not be had; what arrived is kept for the next try.
    """
    target = folder / file.name
    if target.is_file() and _is_right(file, target):
        return target
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    with _alone(folder / f"{file.name}.part") as out:
        if brought is not None:
            _copy(file, brought, out, on_progress)
        elif file.url is not None:
            _download(file, out, on_progress)
        else:
            raise ModelMissingError(target, "bring the file: `automatch models fetch --from FILE`")
        _keep(file, out, target)
    return target


@contextmanager
def _alone(part: Path) -> Iterator[BinaryIO]:
    """Open the unfinished file for nobody but us."""
    descriptor = os.open(part, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "r+b") as out:
        try:
            fcntl.flock(out, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as exc:
            raise ModelUnreachableError(f"{part} is being written by another command.") from exc
        yield out


def _copy(file: ModelFile, brought: Path, out: BinaryIO, on_progress: Progress) -> None:
    try:
        with brought.open("rb") as source:
            _start_over(out)
            while chunk := source.read(_CHUNK):
                _append(file, out, chunk, on_progress)
    except OSError as exc:
        raise ModelMissingError(brought, "name a file that can be read") from exc


def _download(file: ModelFile, out: BinaryIO, on_progress: Progress) -> None:
    tries = 0
    if out.seek(0, os.SEEK_END) > file.bytes:
        _start_over(out)
    with httpx2.Client(timeout=_TIMEOUT, follow_redirects=False) as client:
        while (here := out.seek(0, os.SEEK_END)) < file.bytes:
            try:
                _receive(client, file, out, on_progress)
                cause: Exception | None = None
            except httpx2.TransportError as exc:
                cause = exc
            if out.seek(0, os.SEEK_END) > here:
                tries = 0
                continue
            tries += 1
            if tries == _TRIES:
                raise ModelUnreachableError(
                    f"{_host(file.url)} does not answer or hangs up ({type(cause).__name__}); "
                    "run the command again, it goes on where it stopped. A proxy is taken from "
                    "HTTPS_PROXY."
                ) from cause


def _receive(client: httpx2.Client, file: ModelFile, out: BinaryIO, on_progress: Progress) -> None:
    """Append what one connection gives."""
    here = out.tell()
    url = file.url or ""
    for _ in range(_MOST_REDIRECTS + 1):
        if not is_safe_address(url):
            raise ModelRefusedError(
                f"{_host(file.url)} leads on to {_host(url)} without https, which is not followed."
            )
        # Bytes as they are: a packed answer could not be gone on with.
        headers = {"accept-encoding": "identity"} | ({"range": f"bytes={here}-"} if here else {})
        with client.stream("GET", url, headers=headers) as answer:
            if answer.is_redirect:
                url = urljoin(url, answer.headers.get("location", ""))
                continue
            _check_answer(file, answer, here)
            if answer.status_code != httpx2.codes.PARTIAL_CONTENT:
                _start_over(out)
            if answer.status_code == httpx2.codes.RANGE_NOT_SATISFIABLE:
                return
            for chunk in answer.iter_raw(_CHUNK):
                _append(file, out, chunk, on_progress)
            return
    raise ModelUnreachableError(f"{_host(file.url)} leads in a circle.")


def _check_answer(file: ModelFile, answer: httpx2.Response, here: int) -> None:
    match answer.status_code:
        case httpx2.codes.OK:
            size = answer.headers.get("content-length", "")
        case httpx2.codes.PARTIAL_CONTENT:
            told = re.fullmatch(
                r"bytes (\d+)-\d+/(\d+|\*)", answer.headers.get("content-range", "")
            )
            if told is None or int(told[1]) != here:
                raise ModelUnreachableError(
                    f"{_host(file.url)} sends another part of the file than was asked for."
                )
            size = told[2]
        case httpx2.codes.RANGE_NOT_SATISFIABLE if here:
            return
        case status:
            raise ModelUnreachableError(f"{_host(file.url)} answers {status} for {file.name}.")
    if size.isdigit() and int(size) != file.bytes:
        raise ModelRefusedError(
            f"{_host(file.url)} has {size} bytes under {file.name}; it should be {file.bytes}."
        )


def _append(file: ModelFile, out: BinaryIO, chunk: bytes, on_progress: Progress) -> None:
    here = out.tell() + len(chunk)
    if here > file.bytes:
        _start_over(out)
        raise ModelRefusedError(f"{file.name} has more than its {file.bytes} bytes; refused.")
    out.write(chunk)
    on_progress(here)


def _start_over(out: BinaryIO) -> None:
    out.seek(0)
    out.truncate()


def _keep(file: ModelFile, out: BinaryIO, target: Path) -> None:
    """Give the file its name, if it is the one that is meant."""
    out.flush()
    part = Path(out.name) if isinstance(out.name, str) else target.with_name(f"{target.name}.part")
    if not _is_right(file, part):
        # Nothing of it can be trusted, and going on behind it would never end well.
        _start_over(out)
        raise ModelRefusedError(
            f"{file.name} is not the file that the registry means: its SHA-256 differs. "
            "It was thrown away."
        )
    if file.name.endswith(".onnx") and has_external_data(part.read_bytes()):
        _start_over(out)
        raise ModelRefusedError(
            f"{file.name} keeps numbers in other files (ONNX external data), which nothing has "
            "checked; ask for a model in one file."
        )
    os.fsync(out.fileno())
    part.replace(target)
    descriptor = os.open(target.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _is_right(file: ModelFile, path: Path) -> bool:
    if path.stat().st_size != file.bytes:
        return False
    with path.open("rb") as data:
        return hashlib.file_digest(data, "sha256").hexdigest() == file.sha256


def _host(url: str | None) -> str:
    return urlsplit(url or "").hostname or "the source"
