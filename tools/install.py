"""Install what a lock file names into the environment that runs this, and say how it goes.

pip alone either prints two hundred lines or nothing for minutes. Used by the Makefile.

    .venv/bin/python tools/install.py requirements/run.lock 216
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

_PIP = [sys.executable, "-m", "pip", "install", "--disable-pip-version-check", "--no-input"]
# The locks name everything. Left to resolve, older versions of pip trip over an extra
# (coverage[toml]) as soon as its package has a newer release than the lock.
_LOCKED = ["--require-hashes", "--no-deps", "--only-binary", ":all:", "--progress-bar", "off"]
_COLLECTING = re.compile(r"Collecting ([\w.-]+)")
_SATISFIED = re.compile(r"Requirement already satisfied: ([\w.-]+)")
_DOWNLOADING = re.compile(r" +Downloading \S+ \(([\d.]+) (k|M|G)B\)")
_MB = {"k": 0.001, "M": 1.0, "G": 1000.0}


class Line:
    """One line of a terminal that is written anew, with the seconds that pass; in a log, steps."""

    def __init__(self) -> None:
        self._began = time.monotonic()
        self._is_terminal = sys.stdout.isatty()
        self._text = ""
        self._ended = threading.Event()
        self._ticking = threading.Thread(target=self._tick, daemon=True)
        if self._is_terminal:
            self._ticking.start()

    def show(self, text: str, *, in_logs: bool = False) -> None:
        """Show what goes on now."""
        self._text = text
        if self._is_terminal:
            self._write()
        elif in_logs:
            print(text, flush=True)

    def close(self, text: str) -> None:
        """Leave a last text, with how long all took."""
        self._ended.set()
        if self._is_terminal:
            self._ticking.join()
            print("\r\033[K", end="")
        print(f"{text} in {self._seconds}.", flush=True)

    @property
    def _seconds(self) -> str:
        seconds = round(time.monotonic() - self._began)
        return f"{seconds} s" if seconds < 60 else f"{seconds // 60} min {seconds % 60} s"

    def _tick(self) -> None:
        while not self._ended.wait(1):
            self._write()

    def _write(self) -> None:
        print(f"\r\033[K{self._text} [{self._seconds}]", end="", flush=True)


def main() -> int:
    """Install a lock file of about so many MB, and Auto-Match itself."""
    if status := install(Path(sys.argv[1]), about_mb=sys.argv[2]):
        return status
    itself = ["--quiet", "--no-deps", "--no-build-isolation", "--editable", "."]
    return subprocess.run([*_PIP, *itself], check=False).returncode


def install(lock: Path, *, about_mb: str) -> int:
    """Install a lock file; on failure print all that pip said."""
    total = len(re.findall(r"^[\w.-]+(?:\[.*\])?==", lock.read_text("utf-8"), re.MULTILINE))
    print(f"{lock}: {total} packages, about {about_mb} MB; one to six minutes, once.", flush=True)
    number, megabytes = 0, 0.0
    package = ""
    line = Line()
    with (
        tempfile.TemporaryFile("w+") as said,
        subprocess.Popen(
            [*_PIP, *_LOCKED, "-r", str(lock)],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        ) as pip,
    ):
        assert pip.stdout is not None
        for text in pip.stdout:
            said.write(text)
            if found := _COLLECTING.match(text) or _SATISFIED.match(text):
                number, package = number + 1, found[1]
                line.show(f"  {number} of {total}: {package}")
            elif found := _DOWNLOADING.match(text):
                size = float(found[1]) * _MB[found[2]]
                megabytes += size
                line.show(
                    f"  {number} of {total}: {package}, {size:.1f} MB, {megabytes:.0f} MB so far",
                    in_logs=size >= 1,
                )
            elif text.startswith("Installing collected packages"):
                line.show("  writing the files", in_logs=True)
        status = pip.wait()
        line.close(f"  {megabytes:.0f} MB downloaded" if status == 0 else "  pip failed")
        if status:
            said.seek(0)
            print(said.read(), file=sys.stderr)
    return status


if __name__ == "__main__":
    sys.exit(main())
