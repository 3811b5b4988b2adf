"""Processes of `python -m` that are forked from one which has imported the product already.

To import the server takes longer than most of what a test asks of it. Each process of pytest has
one such process, which runs no thread and no event loop. What it forks becomes a child of pytest
like any other: it has the arguments, the environment and the files that it is given, and runs its
module as `python -m` does. It has such a process too, which was forked before it did anything, for
the workers and servers that it starts itself.
"""

from __future__ import annotations

import asyncio
import atexit
import ctypes
import fcntl
import gc
import inspect
import json
import os
import resource
import runpy
import signal
import socket
import subprocess
import sys
import threading
import time
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any

_ROOT = Path(__file__).parents[2]
_IMPORTED = (
    *(
        "automatch.cli.commands.installation.up",
        "automatch.cli.commands.installation.serve",
        "automatch.cli.commands.installation.worker",
    ),
    *("automatch.app", "automatch.worker_app", "automatch.postgres.embedded"),
    *("automatch.cli.runtime.serving.server_processes", "automatch.cli.runtime.serving.web_server"),
)
MAX_FILES = "TESTS_MAX_FILES"
"""Names how many files what is forked may have open, in its environment."""
_SET_CHILD_SUBREAPER = 36
_MOST_BYTES, _MOST_FILES = 1 << 18, 8
_UNUSED_FILES = 100
_ROOM_FOR_WORDS = "." * 200
_lock = threading.Lock()
_servers: list[socket.socket] = []


class ForkedProcess(subprocess.Popen[str]):
    """Runs `[sys.executable, "-m", module, ...]`; all else, and on other systems, as usual."""

    def _execute_child(self, *given: Any) -> None:
        create = super()._execute_child  # type: ignore[misc]  # no public way to have a pid waited for
        told = inspect.signature(create).bind(*given).arguments
        if sys.platform != "linux" or list(told["args"][:2]) != [sys.executable, "-m"]:
            create(*given)
            return
        pipes = [told[name] for name in ("p2cread", "c2pwrite", "errwrite")]
        files = [own if pipe == -1 else pipe for own, pipe in enumerate(pipes)]
        request = {
            "words": [str(word) for word in told["args"][2:]],
            "folder": str(told["cwd"] or Path.cwd()),
            "env": dict(os.environ if told["env"] is None else told["env"]),
            "files": [0, 1, 2, *told["pass_fds"]],
            "leads_session": told["start_new_session"],
        }
        self.pid = _fork(json.dumps(request).encode(), [*files, *told["pass_fds"]])
        self._child_created = True
        names = "p2cread", "p2cwrite", "c2pread", "c2pwrite", "errread", "errwrite"
        self._close_pipe_fds(*(told[name] for name in names))  # type: ignore[attr-defined]


def fork_commands() -> None:
    """Have the commands that the product starts by asyncio forked, from here on."""
    asyncio.unix_events.subprocess = SimpleNamespace(  # type: ignore[attr-defined]  # as imported there
        **vars(subprocess) | {"Popen": ForkedProcess}
    )


def start_server() -> None:
    """Start the process to fork from unless it runs: it stays in the network it is started in."""
    with _lock:
        if not _servers:
            _start_server()


def _fork(request: bytes, files: list[int]) -> int:
    with _lock:
        server = _servers[0] if _servers else _start_server()
        # Whoever is left alone meanwhile becomes a child of this process.
        _become_reaper(True)
        try:
            socket.send_fds(server, [request], files)
            pid, _ = server.recv(64), server.recv(64)
        finally:
            _become_reaper(False)
    return int(pid)


def _become_reaper(is_one: bool) -> None:
    assert ctypes.CDLL(None).prctl(_SET_CHILD_SUBREAPER, int(is_one), 0, 0, 0) == 0


def _start_server() -> socket.socket:
    ours, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with its:
        env = {name: value for name, value in os.environ.items() if "AUTOMATCH" not in name}
        process = subprocess.Popen(
            [sys.executable, "-m", __spec__.name, str(its.fileno()), _ROOM_FOR_WORDS],
            cwd=_ROOT,
            env=env | {"PYTHONUNBUFFERED": "1"},
            pass_fds=[its.fileno()],
            stdin=subprocess.DEVNULL,
            # Ctrl-C is for pytest, which then stops what it has started.
            start_new_session=True,
        )

    def end() -> None:
        ours.close()
        process.wait()

    atexit.register(end)
    _servers.append(ours)
    return ours


def _serve(clients: socket.socket) -> None:
    # Nothing of what is imported is ever garbage.
    gc.disable()
    for name in _IMPORTED:
        import_module(name)
    # It takes most of the start of a worker.
    import_module("automatch.vision.detect.hog_detector")._stored()
    gc.freeze()
    gc.enable()
    # Background processes of a shell ignore it, and their children inherit that.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    _answer(clients)


def _answer(clients: socket.socket) -> None:
    while True:
        request, files, _, _ = socket.recv_fds(clients, _MOST_BYTES, _MOST_FILES)
        if not request:
            return
        if not (parent := os.fork()):
            if not (child := os.fork()):
                clients.close()
                _keep_server(files)
                _run(json.loads(request), files)
                return
            clients.send(str(child).encode())
            os._exit(0)
        os.waitpid(parent, 0)
        clients.send(b"its parent has ended")
        for file in files:
            os.close(file)


def _keep_server(others: list[int]) -> None:
    """Fork a process to fork from, which has none of the *others*, while this one is as new."""
    ours, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    if not os.fork():
        ours.close()
        for file in others:
            os.close(file)
        _answer(its)
        sys.exit()
    its.close()
    _servers[:] = [ours]
    # For what imports it by its name.
    sys.modules[__spec__.name] = sys.modules[__name__]
    fork_commands()


def _run(request: dict[str, Any], files: list[int]) -> None:
    # Out of the way of the numbers that they get.
    moved = [fcntl.fcntl(file, fcntl.F_DUPFD_CLOEXEC, _UNUSED_FILES) for file in files]
    for file in files:
        os.close(file)
    for file, number in zip(moved, request["files"], strict=True):
        os.dup2(file, number)
        os.close(file)
    if request["leads_session"]:
        os.setsid()
    os.environ.clear()
    os.environ.update(request["env"])
    if most := os.environ.pop(MAX_FILES, ""):
        resource.setrlimit(resource.RLIMIT_NOFILE, (int(most), int(most)))
    time.tzset()
    os.chdir(request["folder"])
    added = [path for path in os.environ.get("PYTHONPATH", "").split(":") if path]
    sys.path[:1] = [request["folder"], *added]
    sys.argv = request["words"]
    _show_words([sys.executable, "-m", *sys.argv])
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)


def _show_words(words: list[str]) -> None:
    """Have `ps` show them, where those of what this process comes from are."""
    fields = Path("/proc/self/stat").read_text().rpartition(")")[2].split()
    start, end = int(fields[45]), int(fields[46])
    shown = "\0".join(words).encode()[: end - start - 1]
    ctypes.memmove(start, shown.ljust(end - start, b"\0"), end - start)


if __name__ == "__main__":
    _serve(socket.socket(fileno=int(sys.argv[1])))
