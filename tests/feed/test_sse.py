"""The wire form of server-sent events."""

from __future__ import annotations

import json

import pytest

from automatch.feed import sse


def test_event_has_id_kind_and_data_on_one_line_each() -> None:
    assert sse.encode_event("match", {"a": 1}, event_id=7) == (
        'id: 7\nevent: match\ndata: {"a":1}\n\n'
    )
    assert sse.encode_event("job", {}) == "event: job\ndata: {}\n\n"


@pytest.mark.parametrize("value", ["\r", "\n", "\r\n\r\n", "\u2028", "\0", "x\n\nevent: gone"])
def test_no_value_ends_an_event_or_starts_another(value: str) -> None:
    encoded = sse.encode_event("match", {"name": value, value: 1}, event_id=1)

    assert len(encoded.splitlines()) == 4
    assert encoded.count("\n\n") == 1
    data = encoded.split("data: ")[1]
    assert json.loads(data) == {"name": value, value: 1}


def test_opening_and_ping_are_no_events() -> None:
    assert "data" not in sse.OPENING + sse.PING
    assert sse.PING.startswith(":")
    assert sse.PING.endswith("\n\n")


@pytest.mark.parametrize(
    ("value", "position"),
    [
        (None, None),
        ("", None),
        ("0", 0),
        ("17", 17),
        ("9" * 18, int("9" * 18)),
        ("9" * 19, None),
        ("-1", None),
        ("1.5", None),
        ("x", None),
        ("\uff11", None),
        (" 1", None),
        ("1\n", None),
    ],
)
def test_only_a_valid_position_resumes(value: str | None, position: int | None) -> None:
    assert sse.parse_position(value) == position
