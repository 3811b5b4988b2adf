"""The network address for which limits count: that of the client, behind a trusted proxy too."""

from __future__ import annotations

from functools import lru_cache
from ipaddress import IPv6Address, IPv6Network, ip_address

from starlette.types import Scope

_IPV6_PREFIX = 64
"""One customer is given at least so many addresses (RFC 6177)."""


def client_address(scope: Scope) -> str:
    """Return the IPv4 address of a client, or the /64 network of its IPv6 address."""
    return network_of(str((scope.get("client") or ("local", 0))[0]))


@lru_cache(4096)
def network_of(host: str) -> str:
    """Return an IPv4 address as it is, and the /64 network of an IPv6 address."""
    try:
        address = ip_address(host.partition("%")[0])
    except ValueError:
        # A client on a Unix socket has none.
        return host
    if not isinstance(address, IPv6Address):
        return str(address)
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return str(IPv6Network((address, _IPV6_PREFIX), strict=False))
