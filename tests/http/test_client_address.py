"""Limits count by address, or by the network that an IPv6 customer is given."""

from __future__ import annotations

import pytest

from automatch.http.client_address import client_address


@pytest.mark.parametrize(
    ("host", "counted"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("", ""),
    ],
)
def test_address_is_counted_with_its_neighbours(host: str, counted: str) -> None:
    assert client_address({"type": "http", "client": (host, 4711)}) == counted


def test_client_of_a_socket_file_has_no_address() -> None:
    assert client_address({"type": "http", "client": None}) == "local"
