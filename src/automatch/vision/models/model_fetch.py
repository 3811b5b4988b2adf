"""Downloads a model file, or copies it from a file of the operator.

Received bytes are kept in `NAME.part`, so a download resumes after a broken connection. A file gets
its name only when it is complete and has the SHA-256 of the registry. Proxies are taken from the
environment (HTTPS_PROXY, HTTP_PROXY, NO_PROXY).
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
from automatch.settings.data_dir import sync_folder
from automatch.vision.models.onnx_model import has_external_data
from automatch.vision.models.registry import ModelFile, is_safe_address

_TIMEOUT = httpx2.Timeout(30, connect=15)
_MAX_REDIRECTS = 5
_MAX_FAILURES = 4
"""Connections in a row that may break without a byte received."""
_CHUNK = 1 << 16

Progress = Callable[[int], None]
"""Called with the number of bytes received so far."""


def fetch_file(
    file: ModelFile, folder: Path, on_progress: Progress, *, local: Path | None = None
) -> Path:
    """Return the path of *file* in *folder*, fetched if it is not there.

    Args:
        file: the file to fetch.
        folder: created if it is missing.
        on_progress: called as bytes arrive.
        local: a file of the operator to copy instead of downloading.

    Raises:
        ModelMissingError: *local* cannot be read, or there is neither a file nor an address.
        ModelRefusedError: the received file is not the expected one.
        ModelUnreachableError: the download failed; received bytes are kept for the next try.
    """
    target = folder / file.name
    if target.is_file() and _is_valid(file, target):
        return target
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    with _locked(folder / f"{file.name}.part") as out:
        if local is not None:
            _copy(file, local, out, on_progress)
        elif file.url is not None:
            _download(file, out, on_progress)
        else:
            raise ModelMissingError(target, "bring the file: `automatch models fetch --from FILE`")
        _keep(file, out, target)
    return target


@contextmanager
def _locked(part: Path) -> Iterator[BinaryIO]:
    """Open the unfinished file under an exclusive lock."""
    descriptor = os.open(part, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "r+b") as out:
        try:
            fcntl.flock(out, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as exc:
            raise ModelUnreachableError(f"{part} is being written by another command.") from exc
        yield out


def _copy(file: ModelFile, local: Path, out: BinaryIO, on_progress: Progress) -> None:
    try:
        with local.open("rb") as source:
            _start_over(out)
            while chunk := source.read(_CHUNK):
                _append(file, out, chunk, on_progress)
    except OSError as exc:
        raise ModelMissingError(local, "name a file that can be read") from exc


def _download(file: ModelFile, out: BinaryIO, on_progress: Progress) -> None:
    failures = 0
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
                failures = 0
                continue
            failures += 1
            if failures == _MAX_FAILURES:
                raise ModelUnreachableError(
                    f"{_host(file.url)} does not answer or closes the connection "
                    f"({type(cause).__name__}); run the command again to resume. A proxy is taken "
                    "from HTTPS_PROXY."
                ) from cause


def _receive(client: httpx2.Client, file: ModelFile, out: BinaryIO, on_progress: Progress) -> None:
    """Append the bytes of one connection."""
    here = out.tell()
    url = file.url or ""
    for _ in range(_MAX_REDIRECTS + 1):
        if not is_safe_address(url):
            raise ModelRefusedError(
                f"{_host(file.url)} redirects to {_host(url)} without https, which is not followed."
            )
        # Uncompressed, because a compressed download cannot be resumed.
        headers = {"accept-encoding": "identity"} | ({"range": f"bytes={here}-"} if here else {})
        with client.stream("GET", url, headers=headers) as response:
            if response.is_redirect:
                url = urljoin(url, response.headers.get("location", ""))
                continue
            _check_answer(file, response, here)
            if response.status_code != httpx2.codes.PARTIAL_CONTENT:
                _start_over(out)
            if response.status_code == httpx2.codes.RANGE_NOT_SATISFIABLE:
                return
            for chunk in response.iter_raw(_CHUNK):
                _append(file, out, chunk, on_progress)
            return
    raise ModelUnreachableError(f"{_host(file.url)} redirects too often.")


def _check_answer(file: ModelFile, response: httpx2.Response, here: int) -> None:
    match response.status_code:
        case httpx2.codes.OK:
            size = response.headers.get("content-length", "")
        case httpx2.codes.PARTIAL_CONTENT:
            content_range = re.fullmatch(
                r"bytes (\d+)-\d+/(\d+|\*)", response.headers.get("content-range", "")
            )
            if content_range is None or int(content_range[1]) != here:
                raise ModelUnreachableError(
                    f"{_host(file.url)} sent another part of the file than was requested."
                )
            size = content_range[2]
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
    """Give the file its name if its content is the expected one."""
    out.flush()
    part = Path(out.name) if isinstance(out.name, str) else target.with_name(f"{target.name}.part")
    if not _is_valid(file, part):
        # No part of it can be trusted, so it must not be resumed.
        _start_over(out)
        raise ModelRefusedError(
            f"{file.name} is not the file of the registry: its SHA-256 differs. It was deleted."
        )
    if file.name.endswith(".onnx") and has_external_data(part.read_bytes()):
        _start_over(out)
        raise ModelRefusedError(
            f"{file.name} stores tensors in other files (ONNX external data), which are not "
            "checked; ask for a model in one file."
        )
    os.fsync(out.fileno())
    part.replace(target)
    sync_folder(target.parent)


def _is_valid(file: ModelFile, path: Path) -> bool:
    if path.stat().st_size != file.bytes:
        return False
    with path.open("rb") as data:
        return hashlib.file_digest(data, "sha256").hexdigest() == file.sha256


def _host(url: str | None) -> str:
    return urlsplit(url or "").hostname or "the source"
