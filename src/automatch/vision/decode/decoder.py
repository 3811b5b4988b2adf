"""Decodes photos in a sandboxed child process, and replaces it when it dies.

One `Decoder` keeps one child (`decode_child.py`) for many photos, since starting one costs as much
as decoding. When a child crashes, exceeds a limit or is killed, only the photo that it was decoding
fails; the next photo gets a new child.
"""

from __future__ import annotations

import json
import os
import select
import signal
import struct
import subprocess
import sys
import threading
import time
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np
import structlog

from automatch.errors import AutomatchError
from automatch.errors.job import DecodeTimeoutError, JobCrashedError
from automatch.errors.photo import ImageTimeoutError, ImageTooComplexError
from automatch.vision.decode.image_header import OUT_OF_MEMORY_EXIT
from automatch.vision.decode.upload_check import error_of, limits_from

if TYPE_CHECKING:
    import numpy.typing as npt

    from automatch.settings import Settings

_log = structlog.get_logger(__name__)

_LENGTH = struct.Struct("<I")
_MAX_HEAD = 4096
_START_TIMEOUT_S = 30
_END_TIMEOUT_S = 10
"""How long a child that closed its streams may take to end, before it is killed."""
_HERE = Path(__file__).parent
_CHILD_PACKAGES = ("PIL", "cykooz_resizer")
# The child ignores the environment and the user's packages, so its paths are arguments. They come
# last in `sys.path`: no file beside the child may replace a standard module.
_BOOTSTRAP = "import sys; sys.path += sys.argv[1:-1]; import decode_child; decode_child.main()"


class _ChildGoneError(Exception):
    """The child closed its streams: it is dead or dying."""


class _AnswerInvalidError(Exception):
    """The child sent what no healthy child sends."""


class Decoder:
    """Decodes one photo at a time in a child process, which is started on first use.

    `close` may be called from another thread and ends a running `decode`. Call `decode` only from
    threads that live as long as the decoder: Linux ends a child with the *thread* that started it.
    """

    def __init__(self, settings: Settings) -> None:
        """Take the limits from *settings*; nothing is started yet."""
        self._vision = settings.vision
        self._config = {
            "limits": asdict(limits_from(settings)),
            "kept_side": settings.vision.kept_side,
            "memory_mb": settings.vision.decode_memory_mb,
            "cpu_s": settings.vision.decode_cpu_s,
        }
        self._decode_lock = threading.Lock()
        self._start_lock = threading.Lock()
        self._closed = False
        self._child: subprocess.Popen[bytes] | None = None

    @property
    def child_pid(self) -> int | None:
        """The process id of the child; `None` while there is none."""
        child = self._child
        return child.pid if child else None

    def decode(self, photo: bytes) -> npt.NDArray[np.uint8]:
        """Return an encoded photo at the size that is kept, (height, width, 3) RGB.

        It blocks without holding the GIL.

        Raises:
            UploadError: there are no bytes, or no photo of a supported type.
            PhotoRejectedError: the photo is damaged or outside a limit.
            DecodeTimeoutError: the machine was too busy; a retry may succeed.
            JobCrashedError: the child died of another cause than a limit, or `close` was called.
        """
        with self._decode_lock:
            child = self._running_child()
            deadline = time.monotonic() + self._vision.decode_timeout_s
            try:
                _send(child, _LENGTH.pack(len(photo)), deadline)
                _send(child, photo, deadline)
                return self._read_answer(child, deadline)
            except TimeoutError as exc:
                # The child has a limit of CPU time of its own, so the machine was too busy.
                self._end(child)
                _log.warning("decoder got too little CPU", timeout_s=self._vision.decode_timeout_s)
                raise DecodeTimeoutError from exc
            except _ChildGoneError as exc:
                raise self._cause_of_death(child) from exc
            except _AnswerInvalidError as exc:
                self._end(child)
                _log.warning("decoder child gave an invalid answer")
                raise JobCrashedError from exc
            except AutomatchError:
                # A refusal is a normal answer; the child waits for the next photo.
                raise
            except BaseException:
                # The rest of this answer must not be read as the next one.
                self._end(child)
                raise

    def close(self) -> None:
        """End the child; later calls of `decode` fail."""
        with self._start_lock:
            self._closed = True
            child = self._child
        if child:
            child.kill()
        # The thread that reads closes the pipes: under a reader, a closed descriptor may already
        # belong to another file.
        with self._decode_lock:
            if self._child:
                self._end(self._child)

    def _running_child(self) -> subprocess.Popen[bytes]:
        child = self._child
        if child and child.poll() is None:
            return child
        if child:
            self._end(child)
        with self._start_lock:
            if self._closed:
                raise JobCrashedError
            try:
                self._child = child = self._start()
            except OSError as exc:
                _log.warning("decoder child did not start", error=exc.strerror)
                raise JobCrashedError from exc
        try:
            _read_head(child, time.monotonic() + _START_TIMEOUT_S)
        except (TimeoutError, _ChildGoneError, _AnswerInvalidError) as exc:
            self._end(child)
            _log.warning("decoder child did not start", status=child.returncode)
            raise JobCrashedError from exc
        return child

    def _start(self) -> subprocess.Popen[bytes]:
        config = json.dumps({**self._config, "parent": os.getpid()})
        packages = [find_spec(name) for name in _CHILD_PACKAGES]
        origins = [Path(spec.origin).parents[1] for spec in packages if spec and spec.origin]
        paths = [str(_HERE), *dict.fromkeys(map(str, origins))]
        child = subprocess.Popen(  # noqa: S603  (no part of the command comes from outside)
            [sys.executable, "-I", "-c", _BOOTSTRAP, *paths, config],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            bufsize=0,
            env={},
            cwd="/",
            # Ctrl-C must reach the worker only, which finishes its jobs first.
            start_new_session=True,
        )
        for stream in (child.stdin, child.stdout):
            if stream:
                os.set_blocking(stream.fileno(), False)
        return child

    def _end(self, child: subprocess.Popen[bytes]) -> None:
        child.kill()
        child.wait()
        for stream in (child.stdin, child.stdout):
            if stream:
                stream.close()
        self._child = None

    def _cause_of_death(self, child: subprocess.Popen[bytes]) -> AutomatchError:
        """Return the error for a child that closed its streams."""
        try:
            status = child.wait(timeout=_END_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            status = None
        self._end(child)
        if status == OUT_OF_MEMORY_EXIT:
            return ImageTooComplexError()
        if status == -signal.SIGXCPU:
            return ImageTimeoutError()
        if not self._closed:
            _log.warning("decoder child died", status=status)
        return JobCrashedError()

    def _read_answer(
        self, child: subprocess.Popen[bytes], deadline: float
    ) -> npt.NDArray[np.uint8]:
        head = _read_head(child, deadline)
        if "code" in head:
            message = head.get("message")
            raise error_of(str(head["code"]), message if isinstance(message, str) else None)
        try:
            width, height = (int(side) for side in head["size"])
        except (KeyError, TypeError, ValueError) as exc:
            raise _AnswerInvalidError from exc
        # The child has read a stranger's file and is not trusted: its figures are checked before
        # this process allocates memory for them.
        if not 0 < width <= self._vision.kept_side or not 0 < height <= self._vision.kept_side:
            raise _AnswerInvalidError
        pixels = _receive(child, 3 * width * height, deadline)
        return np.frombuffer(pixels, np.uint8).reshape(height, width, 3)


def _read_head(child: subprocess.Popen[bytes], deadline: float) -> dict[str, Any]:
    (length,) = _LENGTH.unpack(_receive(child, _LENGTH.size, deadline))
    if length > _MAX_HEAD:
        raise _AnswerInvalidError
    try:
        head = json.loads(_receive(child, length, deadline))
    except ValueError as exc:
        raise _AnswerInvalidError from exc
    if not isinstance(head, dict):
        raise _AnswerInvalidError
    return head


def _send(child: subprocess.Popen[bytes], data: bytes, deadline: float) -> None:
    rest = memoryview(data)
    while rest:
        fd = _ready(child.stdin, select.POLLOUT, deadline)
        try:
            rest = rest[os.write(fd, rest) :]
        except BlockingIOError:
            continue
        except OSError as exc:
            raise _ChildGoneError from exc


def _receive(child: subprocess.Popen[bytes], length: int, deadline: float) -> bytearray:
    data = bytearray(length)
    rest = memoryview(data)
    while rest:
        fd = _ready(child.stdout, select.POLLIN, deadline)
        try:
            count = os.readv(fd, [rest])
        except BlockingIOError:
            continue
        except OSError as exc:
            raise _ChildGoneError from exc
        if count == 0:
            raise _ChildGoneError
        rest = rest[count:]
    return data


def _ready(stream: IO[bytes] | None, event: int, deadline: float) -> int:
    """Wait until *stream* can be read or written and return its descriptor."""
    if stream is None:
        raise _ChildGoneError
    fd = stream.fileno()
    poll = select.poll()
    poll.register(fd, event)
    if not poll.poll(max(0.0, deadline - time.monotonic()) * 1000):
        raise TimeoutError
    return fd
