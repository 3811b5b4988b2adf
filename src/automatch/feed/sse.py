"""The encoding of server-sent events (WHATWG HTML, section 9.2)."""

from __future__ import annotations

import json
from typing import Any

RETRY_MS = 1000
"""How long a client waits before it reconnects."""

OPENING = f"retry: {RETRY_MS}\n\n"
PING = ": ping\n\n"
HEADERS = {"x-accel-buffering": "no"}
"""Keeps nginx from collecting events before it passes them on."""


def encode_event(kind: str, data: dict[str, Any], *, event_id: int | None = None) -> str:
    """Return one event. JSON on one line, so that no value can end the event or start another."""
    lines = [f"event: {kind}", f"data: {json.dumps(data, separators=(',', ':'))}"]
    if event_id is not None:
        lines.insert(0, f"id: {event_id}")
    return "\n".join(lines) + "\n\n"


def parse_position(value: str | None) -> int | None:
    """Return a position as clients send it back; None when there is no usable one."""
    return int(value) if value and value.isascii() and value.isdigit() and len(value) < 19 else None
