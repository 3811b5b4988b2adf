"""The encoding of Phoenix channel messages, in the two versions that supabase clients use.

Version 1.0.0 is a JSON object, version 2.0.0 the array [join_ref, ref, topic, event, payload].
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any, Literal

from automatch.errors.request import InputInvalidError

Version = Literal["1.0.0", "2.0.0"]

_FIELDS = ("join_ref", "ref", "topic", "event", "payload")
_MAX_REF = 64
_MAX_EVENT = 64
_MAX_TOPIC = 255


@dataclass(frozen=True, slots=True)
class Message:
    """One message of a socket, in either direction."""

    topic: str
    event: str
    payload: dict[str, Any] = field(default_factory=dict)
    ref: str | None = None
    """The request of a client that this is, or answers."""
    join_ref: str | None = None
    """The `phx_join` that joined the channel; distinguishes it from an earlier one of its topic."""

    def reply(self, status: Literal["ok", "error"], response: dict[str, Any]) -> Message:
        """Return the answer to this message."""
        payload = {"status": status, "response": response}
        return Message(self.topic, "phx_reply", payload, self.ref, self.join_ref)


def decode(text: str, version: Version) -> Message:
    """Return the message that a client sent.

    Raises:
        InputInvalidError: the text is not a message of this version.
    """
    try:
        decoded = json.loads(text)
    except (ValueError, RecursionError) as exc:
        raise InputInvalidError("A message is not JSON.") from exc
    if version == "1.0.0" and isinstance(decoded, dict):
        fields: list[Any] = [decoded.get(name) for name in _FIELDS]
    elif version == "2.0.0" and isinstance(decoded, list) and len(decoded) == 5:
        fields = decoded
    else:
        raise InputInvalidError(f"A message has not the form of version {version}.")
    join_ref, ref, topic, event, payload = fields
    if not (
        _is_text(topic, _MAX_TOPIC)
        and _is_text(event, _MAX_EVENT)
        and (ref is None or _is_text(ref, _MAX_REF))
        and (join_ref is None or _is_text(join_ref, _MAX_REF))
        and isinstance(payload, dict)
    ):
        raise InputInvalidError("A message needs `topic`, `event`, `payload` and `ref`.")
    return Message(topic, event, payload, ref, join_ref)


def encode(message: Message, version: Version) -> str:
    """Return the text that a client of this version reads."""
    encoded: Any = [message.join_ref, message.ref, message.topic, message.event, message.payload]
    if version == "1.0.0":
        encoded = {
            "topic": message.topic,
            "event": message.event,
            "payload": message.payload,
            "ref": message.ref,
            "join_ref": message.join_ref,
        }
    return json.dumps(encoded, separators=(",", ":"))


def _is_text(value: object, max_chars: int) -> bool:
    return isinstance(value, str) and len(value) <= max_chars
