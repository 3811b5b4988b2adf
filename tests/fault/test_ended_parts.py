"""Every part of a server and a worker is ended once: `ended_parts.py`, in a process of its own.

What is ended in the middle leaves halves behind, which Python collects while other tests run.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.support.forks import ForkedProcess
from tests.support.homes import SHARED_HOMES, StoredHome


def test_every_part_of_a_server_and_a_worker_is_ended_once(migrated_home: StoredHome) -> None:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    run = ForkedProcess(
        [
            *(sys.executable, "-m", "pytest", "-q", "-n", "0", "-p", "no:cacheprovider"),
            *("-W", "ignore::pytest.PytestUnraisableExceptionWarning"),
            # Of what was imported before the fork.
            *("-W", "ignore::pytest.PytestAssertRewriteWarning"),
            str(Path(__file__).with_name("ended_parts.py")),
        ],
        cwd=Path(__file__).parents[2],
        env=kept | {SHARED_HOMES: str(migrated_home.folder.parent)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    with run:
        try:
            told, _ = run.communicate(timeout=220)
        finally:
            run.kill()

    assert run.returncode == 0, told[-8000:]
