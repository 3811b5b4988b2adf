"""What fails again and again is logged once, when it changes, and once a minute."""

from __future__ import annotations

import asyncio

import psycopg
import pytest
from structlog.testing import capture_logs

from automatch.store import notify
from automatch.store.notify import JobNotifier, listen
from automatch.store.outage_log import REPEAT_S, OutageLog


class _Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_failure_is_logged_once_when_it_changes_and_once_a_minute() -> None:
    clock = _Clock()
    outage = OutageLog("it fails", end="it works again", clock=clock)

    with capture_logs() as logs:
        outage.ended()
        for error in ("Away", "Away", "Refused", "Refused", "Refused"):
            outage.failed(error)
        clock.now += REPEAT_S
        outage.failed("Refused")
        outage.ended()
        outage.ended()
        outage.failed("Refused")

    assert [(entry["event"], entry.get("error"), entry["times"]) for entry in logs] == [
        ("it fails", "Away", 1),
        ("it fails", "Refused", 1),
        ("it fails", "Refused", 4),
        ("it works again", None, 4),
        ("it fails", "Refused", 1),
    ]


@pytest.mark.anyio
async def test_notifications_that_cannot_connect_are_logged_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    attempts = 0

    async def refuse(*_: object) -> None:
        nonlocal attempts
        attempts += 1
        if attempts > 6:
            raise asyncio.CancelledError
        raise psycopg.OperationalError

    monkeypatch.setattr(notify, "_connect", refuse)
    monkeypatch.setattr(notify, "_RECONNECT_S", 0)
    notifier = JobNotifier("", name="test")
    with capture_logs() as logs:
        for _ in range(3):
            assert not await notifier.connect()
        with pytest.raises(asyncio.CancelledError):
            await listen("", {"jobs": asyncio.Event()}, name="test")

    assert [entry["event"] for entry in logs] == [
        "job notifier cannot connect",
        "listener reconnects",
    ]
