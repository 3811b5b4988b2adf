from __future__ import annotations

import os
import subprocess
import sys

import psutil

from automatch.ops.bench.usage import Meter

_WAIT = "import sys; print('here', flush=True); sys.stdin.read()"


def test_further_processes_of_a_server_are_counted_with_it() -> None:
    kinds = {"serve": "server", "worker": "worker"}
    children = {
        kind: subprocess.Popen(
            [sys.executable, "-c", _WAIT, kind],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        for kind in kinds
    }
    try:
        for child in children.values():
            assert child.stdout
            child.stdout.readline()

        found = Meter(os.getpid()).processes()
    finally:
        for child in children.values():
            child.communicate()

    assert found["server"][0] == psutil.Process()
    for kind, part in kinds.items():
        assert children[kind].pid in [process.pid for process in found[part]]
