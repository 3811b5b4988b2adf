"""The connections of the web server: how many there may be, and how they are accepted.

asyncio's own server tries to accept thousands of times when the process has no descriptor left,
and logs each attempt; ours waits a moment. It accepts fewer connections than there are descriptors
in the first place: database, files and decoders need some too. When all places are taken, a new
connection gets that of the one that has waited longest for its client to send something.
"""

from __future__ import annotations

import asyncio
import logging
import resource
import socket
from collections import Counter
from collections.abc import Callable, Collection
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import ip_address, ip_network

from automatch.http.client_address import network_of

_MAX_CONNECTIONS = 12_288
_WANTED_DESCRIPTORS = 24_576
_BATCH = 32
"""Connections that are accepted before others are served again."""
_PAUSE_S = 0.5
"""Seconds before another attempt after a failed one."""

log = logging.getLogger(__name__)


def raise_descriptor_limit() -> None:
    """Let this process open as many files as a server needs, if its hard limit allows it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = (
        _WANTED_DESCRIPTORS if hard == resource.RLIM_INFINITY else min(_WANTED_DESCRIPTORS, hard)
    )
    if resource.RLIM_INFINITY != soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def most_connections() -> int:
    """Return how many connections a server of this process's limits holds open."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    descriptors = _WANTED_DESCRIPTORS if soft == resource.RLIM_INFINITY else soft
    return min(_MAX_CONNECTIONS, descriptors * 3 // 5)


@lru_cache(4096)
def normalize_address(address: str) -> str:
    """Return an IPv4 address that an IPv6 socket tells in the form of IPv4, others as they are."""
    try:
        mapped = getattr(ip_address(address), "ipv4_mapped", None)
    except ValueError:
        return address
    return str(mapped) if mapped else address


@dataclass(slots=True, eq=False)
class Connection:
    """One open connection."""

    address: str
    """Of the client; of IPv6 its /64 network."""
    abort: Callable[[], None] | None = None
    """Ends the connection at once; None until it is set up."""


class Connections:
    """The open connections, and which of them have waited longest for their clients."""

    def __init__(self, *, max_total: int | None = None, proxies: Collection[str] = ()) -> None:
        if max_total is None:
            max_total = most_connections()
        self._max_total = max_total
        self._max_per_address = max(max_total // 4, 1)
        self._proxies = [ip_network(proxy) for proxy in proxies]
        self._open: set[Connection] = set()
        self._waiting: dict[Connection, None] = {}
        self._per_address: Counter[str] = Counter()

    def __len__(self) -> int:
        return len(self._open)

    def open(self, address: str) -> Connection | None:
        """Count a connection from *address*; None when others have all places."""
        address = normalize_address(address)
        key = network_of(address)
        if not self._is_proxy(address) and self._per_address[key] >= self._max_per_address:
            if not self._end_longest_waiting(key):
                return None
        elif len(self._open) >= self._max_total and not self._end_longest_waiting(None):
            return None
        connection = Connection(key)
        self._open.add(connection)
        self._per_address[key] += 1
        return connection

    def close(self, connection: Connection) -> None:
        """Count a connection no longer; more than once does no harm."""
        self._waiting.pop(connection, None)
        if connection in self._open:
            self._open.remove(connection)
            self._per_address[connection.address] -= 1
            if not self._per_address[connection.address]:
                del self._per_address[connection.address]

    def set_waiting(self, connection: Connection, *, is_waiting: bool) -> None:
        """Tell whether it is the client's turn: to send the head or the body of a request."""
        if not is_waiting:
            self._waiting.pop(connection, None)
        elif connection in self._open:
            self._waiting.setdefault(connection)

    def _end_longest_waiting(self, address: str | None) -> bool:
        for connection in self._waiting:
            if address in {None, connection.address} and connection.abort is not None:
                self.close(connection)
                connection.abort()
                return True
        return False

    def _is_proxy(self, address: str) -> bool:
        return any(
            proxy.version == parsed.version and parsed in proxy
            for parsed in [ip_address(address.partition("%")[0])]
            for proxy in self._proxies
        )


class Acceptor:
    """Accepts the connections of a listening socket; has what uvicorn asks of asyncio's server."""

    def __init__(
        self,
        listener: socket.socket,
        connections: Connections,
        *,
        make_protocol: Callable[[Connection], asyncio.Protocol],
        refusal: bytes,
    ) -> None:
        self._listener = listener
        self._connections = connections
        self._make_protocol = make_protocol
        self._refusal = refusal
        self._loop = asyncio.get_running_loop()
        self._paused: asyncio.TimerHandle | None = None
        self._starting: set[asyncio.Task[None]] = set()
        listener.setblocking(False)

    def start(self) -> None:
        """Accept connections until closed."""
        self._loop.add_reader(self._listener.fileno(), self._accept)

    def close(self) -> None:
        """Accept no more connections."""
        if self._paused is not None:
            self._paused.cancel()
        self._loop.remove_reader(self._listener.fileno())

    async def wait_closed(self) -> None:
        """Wait for nothing: `close` has closed it."""

    def _accept(self) -> None:
        for _ in range(_BATCH):
            try:
                accepted, address = self._listener.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as exc:
                log.warning("cannot accept connections: %s", exc.strerror)
                self._loop.remove_reader(self._listener.fileno())
                self._paused = self._loop.call_later(_PAUSE_S, self.start)
                return
            connection = self._connections.open(str(address[0]))
            if connection is None:
                self._refuse(accepted)
                continue
            starting = self._loop.create_task(self._start(accepted, connection))
            self._starting.add(starting)
            starting.add_done_callback(self._starting.discard)

    async def _start(self, accepted: socket.socket, connection: Connection) -> None:
        accepted.setblocking(False)
        try:
            await self._loop.connect_accepted_socket(
                lambda: self._make_protocol(connection), accepted
            )
        except OSError:
            # The client has left already.
            accepted.close()
            self._connections.close(connection)

    def _refuse(self, accepted: socket.socket) -> None:
        log.warning("connections are refused: all %d places are taken", len(self._connections))
        with accepted:
            accepted.setblocking(False)
            try:
                accepted.send(self._refusal)
            except OSError:
                return
