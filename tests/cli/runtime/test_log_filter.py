"""What libraries log: one line a minute of each kind, however often it happens."""

from __future__ import annotations

import logging

from automatch.cli.runtime.log_filter import OncePerMinute


def record(message: str, *values: object, name: str = "library") -> logging.LogRecord:
    return logging.LogRecord(name, logging.WARNING, "", 0, message, values, None)


def test_fault_is_logged_once_a_minute_with_how_often_it_happened() -> None:
    now = 0.0
    once = OncePerMinute(clock=lambda: now)
    assert once.filter(record("cannot accept %s", 1))
    for number in range(500):
        assert not once.filter(record("cannot accept %s", number))
    assert once.filter(record("something else"))
    assert once.filter(record("cannot accept %s", 1, name="another"))

    now = 61.0
    again = record("cannot accept %s", 2)

    assert once.filter(again)
    assert again.getMessage() == "cannot accept 2 (and 500 times more since it was logged last)"
