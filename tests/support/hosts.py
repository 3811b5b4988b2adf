"""Hosts of one installation: each with a data folder and, if it can, a network of its own.

    python -m tests.support.hosts NAMESPACE MODULE ...

runs `python -m MODULE ...` in a network namespace.
"""

from __future__ import annotations

import ctypes
import os
import re
import runpy
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.support.command import environment
from tests.support.forks import ForkedProcess, start_server
from tests.support.waiting import wait_until

_READY = {"serve": r"is ready: (http\S+)\s", "worker": "(worker started)"}
_NAMES = Path("/etc/netns")
_NETWORKS = Path("/run/netns")
_NEW_MOUNTS, _NEW_NETWORK = 0x20000, 0x40000000
_BIND, _KEEP_MOUNTS = 0x1000, 0x84000
_STOP_S = 30


@dataclass(frozen=True)
class Network:
    """Where a host is, and how it reaches what all hosts share."""

    ip: str = "127.0.0.1"
    shared_ip: str = "127.0.0.1"
    shared_name: str = "127.0.0.1"
    namespace: str | None = None
    link: str | None = None
    """The end of its cable; None where it shares the network of the tests."""

    def set(self, state: str) -> None:
        """Pull the cable (`down`), or plug it in again (`up`)."""
        assert self.link is not None
        _ip("link", "set", self.link, state)


@contextmanager
def networks(count: int) -> Iterator[list[Network]]:
    """Give each host a network namespace, where this process may make one.

    Meanwhile this thread and what it starts are in one too, to which the cables of all hosts lead:
    when the machine's own network changes, browsers drop what they load (`ERR_NETWORK_CHANGED`).
    """
    with ExitStack() as stack:
        try:
            shared = stack.enter_context(_namespace("shared"))
            # Started in there, it would stay, and later tests could not reach what it forks.
            start_server()
            stack.enter_context(_moved_to(shared))
            placed = [stack.enter_context(_network(n)) for n in range(count)]
        except _NotAllowedError:
            placed = [Network()] * count
        yield placed


class _NotAllowedError(Exception):
    pass


@contextmanager
def _namespace(name: str) -> Iterator[str]:
    namespace = f"am{os.getpid()}{name}"
    if os.geteuid() or shutil.which("ip") is None:
        raise _NotAllowedError
    try:
        _ip("netns", "add", namespace)
    except subprocess.CalledProcessError as exc:
        raise _NotAllowedError from exc
    try:
        _ip("-n", namespace, "link", "set", "lo", "up")
        yield namespace
    finally:
        _ip("netns", "delete", namespace)


@contextmanager
def _moved_to(namespace: str) -> Iterator[None]:
    with Path("/proc/thread-self/ns/net").open("rb") as before:
        with (_NETWORKS / namespace).open("rb") as network:
            _move(network.fileno())
        try:
            yield
        finally:
            _move(before.fileno())


def _move(network: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    assert not libc.setns(network, _NEW_NETWORK), os.strerror(ctypes.get_errno())


@contextmanager
def _network(number: int) -> Iterator[Network]:
    link = f"host{number}"
    shared_ip, ip = (f"10.213.0.{4 * number + end}" for end in (1, 2))
    with _namespace(link) as namespace:
        # The cable goes with the namespace.
        _ip("link", "add", link, "type", "veth", "peer", "eth0", "netns", namespace)
        _ip("address", "add", f"{shared_ip}/30", "dev", link)
        _ip("link", "set", link, "up")
        _ip("-n", namespace, "address", "add", f"{ip}/30", "dev", "eth0")
        _ip("-n", namespace, "link", "set", "eth0", "up")
        # Seen as /etc/hosts in the namespace.
        names = _NAMES / namespace / "hosts"
        names.parent.mkdir(parents=True)
        try:
            names.write_text(f"127.0.0.1 localhost\n{shared_ip} shared\n")
            yield Network(ip, shared_ip, "shared", namespace, link)
        finally:
            shutil.rmtree(names.parent, ignore_errors=True)


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True)


@dataclass
class Host:
    """A machine with a server and a worker."""

    home: Path
    network: Network
    settings: Mapping[str, str]
    """As `WORKER__LEASE_S`."""
    url: str = ""
    processes: dict[str, ForkedProcess] = field(default_factory=dict)

    def start(self, part: str) -> None:
        """Start `serve` or `worker`, and return once it is ready."""
        given = {f"AUTOMATCH_{name}": value for name, value in self.settings.items()}
        inside = [__name__, self.network.namespace] if self.network.namespace else []
        log = self.home.with_name(f"{self.home.name}-{part}.log")
        with log.open("wb") as file:
            process = ForkedProcess(
                [sys.executable, "-m", *inside, "automatch", part]
                + (["--only", "api", "--port", "0"] if part == "serve" else []),
                env=environment(self.home) | given | {"AUTOMATCH_HOST": self.network.ip},
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=file,
                text=True,
            )
        self.processes[part] = process

        def is_ready() -> re.Match[str] | None:
            assert process.poll() is None, log.read_text()
            return re.search(_READY[part], log.read_text())

        wait_until(is_ready, f"{part} of {self.home.name}")
        found = is_ready()
        assert found
        self.url = found[1] if part == "serve" else self.url

    def send(self, number: signal.Signals, *parts: str) -> None:
        """Send a signal to these parts, or to all of them."""
        for part in parts or self.processes:
            self.processes[part].send_signal(number)

    def stop(self) -> None:
        """Stop everything that runs."""
        for process in self.processes.values():
            process.send_signal(signal.SIGCONT)
            process.terminate()
        for process in self.processes.values():
            try:
                process.wait(_STOP_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _run_inside(namespace: str, *words: str) -> None:
    """Do what `ip netns exec` does, which would need a new interpreter."""
    names = os.fsencode(_NAMES / namespace / "hosts")
    with (_NETWORKS / namespace).open("rb") as network:
        _move(network.fileno())
    libc = ctypes.CDLL(None, use_errno=True)
    failed = (
        libc.unshare(_NEW_MOUNTS)
        or libc.mount(b"none", b"/", None, _KEEP_MOUNTS, None)
        or libc.mount(names, b"/etc/hosts", None, _BIND, None)
    )
    assert not failed, os.strerror(ctypes.get_errno())
    sys.argv = [*words]
    runpy.run_module(words[0], run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    _run_inside(*sys.argv[1:])
