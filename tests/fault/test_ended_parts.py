"""Every part of a server and a worker is ended once: `ended_parts.py`, in a process of its own.

What is ended in the middle leaves halves behind, which Python collects while other tests run.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path


def test_every_part_of_a_server_and_a_worker_is_ended_once() -> None:
    done = subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "-q", "-n", "0", "-p", "no:cacheprovider"),
            *("-W", "ignore::pytest.PytestUnraisableExceptionWarning"),
            str(Path(__file__).with_name("ended_parts.py")),
        ],
        cwd=Path(__file__).parents[2],
        env={name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")},
        capture_output=True,
        text=True,
        timeout=220,
        check=False,
    )

    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
