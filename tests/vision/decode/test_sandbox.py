"""The decoder's child: its limits, its deaths, and that each costs one photo at most."""

from __future__ import annotations

import math
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from PIL import Image

from automatch.errors import AutomatchError
from automatch.errors.job import DecodeTimeoutError, JobCrashedError
from automatch.errors.photo import ImageTimeoutError, ImageTooComplexError
from automatch.settings import Settings
from automatch.settings.vision import VisionSettings
from automatch.vision.decode import decoder as decoder_module
from automatch.vision.decode.decoder import Decoder
from tests.support.photos import astronaut, blank_png, encode, endless

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_GOOD = encode(astronaut())
_PROC = Path("/proc")

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


@pytest.fixture
def make() -> Iterator[Callable[..., Decoder]]:
    made: list[Decoder] = []

    def _make(**vision: Any) -> Decoder:
        made.append(Decoder(Settings(vision=VisionSettings(**vision))))
        return made[-1]

    yield _make
    for decoder in made:
        decoder.close()


def _cpu_ticks(pid: int) -> int:
    fields = (_PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


def _page_faults(pid: int) -> int:
    return int((_PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()[7])


def _is_alive(pid: int) -> bool:
    try:
        return (_PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def _wait_until(holds: Callable[[], bool], seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline
        os.sched_yield()


class _Running:
    """A photo being decoded in another thread, so far that the child works on it."""

    def __init__(self, decoder: Decoder, photo: bytes) -> None:
        decoder.decode(_GOOD)
        assert decoder.child_pid
        self.child = decoder.child_pid
        self._error: AutomatchError | None = None
        self._thread = threading.Thread(target=self._decode, args=(decoder, photo))
        before = _cpu_ticks(self.child)
        self._thread.start()
        _wait_until(lambda: _cpu_ticks(self.child) > before + 5)

    def _decode(self, decoder: Decoder, photo: bytes) -> None:
        try:
            decoder.decode(photo)
        except AutomatchError as exc:
            self._error = exc

    def error(self) -> AutomatchError | None:
        self._thread.join(60)
        assert not self._thread.is_alive()
        return self._error


def test_a_photo_that_takes_too_much_cpu_is_given_up(make: Callable[..., Decoder]) -> None:
    decoder = make(decode_cpu_s=1, decode_timeout_s=60, max_scans=10_000)

    with pytest.raises(ImageTimeoutError):
        decoder.decode(endless())

    assert len(decoder.decode(_GOOD)) == 512


def test_cpu_is_allowed_to_each_photo_anew(make: Callable[..., Decoder]) -> None:
    decoder = make(decode_cpu_s=1)
    decoder.decode(_GOOD)
    child = decoder.child_pid
    assert child

    while _cpu_ticks(child) < 2.2 * os.sysconf("SC_CLK_TCK"):
        decoder.decode(_GOOD)

    assert decoder.child_pid == child


def test_a_machine_too_busy_for_a_photo_is_no_fault_of_the_photo(
    make: Callable[..., Decoder],
) -> None:
    decoder = make()
    decoder.decode(_GOOD)
    assert decoder.child_pid
    # As one that gets no CPU at all.
    os.kill(decoder.child_pid, signal.SIGSTOP)
    patient = decoder._vision
    decoder._vision = patient.model_copy(update={"decode_timeout_s": 0.2})

    with pytest.raises(DecodeTimeoutError) as caught:
        decoder.decode(_GOOD)
    assert caught.value.transient

    decoder._vision = patient
    assert len(decoder.decode(_GOOD)) == 512


def test_a_photo_that_takes_too_much_memory_is_given_up(make: Callable[..., Decoder]) -> None:
    decoder = make(decode_memory_mb=256)

    with pytest.raises(ImageTooComplexError):
        decoder.decode(blank_png(7000, 7000))

    assert len(decoder.decode(_GOOD)) == 512


def test_the_largest_photo_allowed_fits_into_the_usual_memory(make: Callable[..., Decoder]) -> None:
    page = Image.new("RGBA", (7071, 7071), (255, 0, 0, 128))

    decoded = make().decode(encode(page, "PNG", compress_level=1))

    assert decoded.shape == (1600, 1600, 3)
    assert decoded[0, 0].tolist() == [255, 127, 127]


def test_the_largest_avif_allowed_fits_too(make: Callable[..., Decoder]) -> None:
    photo = encode(Image.new("RGB", (7070, 7070), "grey"), "AVIF", speed=10)

    assert make().decode(photo).shape == (1600, 1600, 3)


def test_the_child_is_used_again(make: Callable[..., Decoder]) -> None:
    decoder = make()
    assert decoder.child_pid is None

    decoder.decode(_GOOD)
    child = decoder.child_pid
    decoder.decode(_GOOD)

    assert child is not None
    assert decoder.child_pid == child


def test_a_child_killed_between_photos_costs_none(make: Callable[..., Decoder]) -> None:
    decoder = make()
    decoder.decode(_GOOD)
    child = decoder.child_pid
    assert child

    os.kill(child, signal.SIGKILL)
    _wait_until(lambda: not _is_alive(child))

    assert len(decoder.decode(_GOOD)) == 512
    assert decoder.child_pid != child


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV, signal.SIGABRT])
def test_a_child_killed_at_work_costs_a_photo_that_may_be_tried_again(
    number: signal.Signals, make: Callable[..., Decoder]
) -> None:
    decoder = make(max_scans=10_000)
    running = _Running(decoder, endless())

    os.kill(running.child, number)

    error = running.error()
    assert isinstance(error, JobCrashedError)
    assert error.transient
    assert len(decoder.decode(_GOOD)) == 512


def test_closing_ends_a_photo_at_work_and_the_child(make: Callable[..., Decoder]) -> None:
    decoder = make(max_scans=10_000)
    running = _Running(decoder, endless())

    decoder.close()

    assert isinstance(running.error(), JobCrashedError)
    assert not _is_alive(running.child)
    with pytest.raises(JobCrashedError):
        decoder.decode(_GOOD)


def test_the_child_is_confined(make: Callable[..., Decoder]) -> None:
    decoder = make(decode_memory_mb=300, decode_cpu_s=3)
    decoder.decode(_GOOD)
    process = _PROC / str(decoder.child_pid)
    limits = {line[:26].strip(): line[26:].split() for line in _limits(process)}

    assert (process / "environ").read_bytes() == b""
    assert sorted(fd.name for fd in (process / "fd").iterdir()) == ["0", "1", "2"]
    assert limits["Max open files"][:2] == ["3", "3"]
    assert limits["Max file size"][:2] == ["0", "0"]
    assert limits["Max core file size"][:2] == ["0", "0"]
    assert "Seccomp:\t2\n" in (process / "status").read_text()
    assert limits["Max address space"][:2] == [str(300 * 1024**2)] * 2
    used_s = _cpu_ticks(decoder.child_pid) / os.sysconf("SC_CLK_TCK")
    assert 3 < int(limits["Max cpu time"][0]) <= math.ceil(used_s + 0.02) + 3


_CONFINED = """
import sys
sys.path.append(sys.argv[1])
import _posixsubprocess, _socket, sandbox, os, threading
attempts = {
    "fork": os.fork,
    "exec": lambda: os.execv("/bin/true", ["true"]),
    "spawn": lambda: os.posix_spawn("/bin/true", ["true"], {}),
    "open": lambda: os.open("/etc/passwd", os.O_RDONLY),
    "socket": _socket.socket,
}
if sys.argv[2] != "0":
    os.setgroups([])
    os.setuid(int(sys.argv[2]))
sandbox.enter(512)
for name, attempt in attempts.items():
    try:
        attempt()
    except OSError:
        print(name, "refused")
thread = threading.Thread(target=print, args=("thread", "allowed"))
thread.start()
thread.join()
"""


@pytest.mark.parametrize("user", [0, 65534], ids=["root", "nobody"])
def test_what_is_confined_starts_threads_and_nothing_else(user: int) -> None:
    if user and os.getuid():
        pytest.skip("only root can become somebody else")

    done = subprocess.run(
        [
            sys.executable,
            "-I",
            "-c",
            _CONFINED,
            str(Path(decoder_module.__file__).parent),
            str(user),
        ],
        capture_output=True,
        text=True,
        check=True,
    )

    assert done.stdout.splitlines() == [
        *("fork refused", "exec refused", "spawn refused", "open refused", "socket refused"),
        "thread allowed",
    ]


def _limits(process: Path) -> list[str]:
    return (process / "limits").read_text().splitlines()[1:]


_WORKER = """
import sys
from automatch.settings import Settings
from automatch.settings.vision import VisionSettings
from automatch.vision.decode.decoder import Decoder
patient = VisionSettings(max_scans=10_000, decode_cpu_s=60, decode_timeout_s=60)
decoder = Decoder(Settings(vision=patient))
good, endless = (open(path, "rb").read() for path in sys.argv[1:])
decoder.decode(good)
print(decoder.child_pid, flush=True)
decoder.decode(endless)
"""


def test_the_child_does_not_outlive_a_worker_that_is_killed(tmp_path: Path) -> None:
    paths = [tmp_path / "good", tmp_path / "endless"]
    for path, photo in zip(paths, (_GOOD, endless()), strict=True):
        path.write_bytes(photo)
    env = {"PYTHONPATH": str(Path(decoder_module.__file__).parents[3])}
    with subprocess.Popen(
        [sys.executable, "-c", _WORKER, *paths], stdout=subprocess.PIPE, env=env
    ) as worker:
        assert worker.stdout
        child = int(worker.stdout.readline())
        before = _cpu_ticks(child)
        _wait_until(lambda: _cpu_ticks(child) > before + 5)

        worker.kill()

        # Long before its own limits would end it.
        _wait_until(lambda: not _is_alive(child))


def test_a_photo_is_decoded_in_the_memory_of_the_one_before(make: Callable[..., Decoder]) -> None:
    decoder, photo = make(), encode(astronaut().resize((3464, 3464)))
    decoder.decode(photo)
    assert decoder.child_pid
    before = _page_faults(decoder.child_pid)

    decoder.decode(photo)

    # Its pixels alone are 1,900 pages, and are copied a few times.
    assert _page_faults(decoder.child_pid) - before < 1500


_TAKEN_OVER = """
import sys
out = sys.stdout.buffer
out.write(b"\\x02\\x00\\x00\\x00{{}}")
out.flush()
sys.stdin.buffer.read(4)
head = {head}
out.write(({length}).to_bytes(4, "little") + head + bytes(1000))
out.flush()
sys.stdin.buffer.read()
"""


@pytest.mark.parametrize(
    ("head", "length"),
    [
        (b"", 0xFFFFFFFF),
        (b"", 0),
        (b"not json", 8),
        (b"[]", 2),
        (b'{"size": [60000, 60000]}', None),
        (b'{"size": [10, 1601]}', None),
        (b'{"size": [10, -9]}', None),
        (b'{"size": [10, 10, 10]}', None),
        (b'{"size": "ab"}', None),
    ],
)
def test_a_child_that_was_taken_over_is_not_believed(
    head: bytes,
    length: int | None,
    make: Callable[..., Decoder],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    program = _TAKEN_OVER.format(head=head, length=len(head) if length is None else length)
    monkeypatch.setattr(decoder_module, "_BOOTSTRAP", program)
    decoder = make()

    with pytest.raises(JobCrashedError):
        decoder.decode(_GOOD)

    assert decoder.child_pid is None
