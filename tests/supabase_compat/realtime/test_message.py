"""The wire form of Phoenix channels."""

from __future__ import annotations

import json

import pytest

from automatch.errors.request import InputInvalidError
from automatch.supabase_compat.realtime.limits import TokenBucket
from automatch.supabase_compat.realtime.message import Message, Version, decode, encode

MESSAGE = Message("realtime:x", "phx_join", {"a": [1]}, "2", "1")


def test_object_and_array_are_the_same_message() -> None:
    told = {"topic": "realtime:x", "event": "phx_join", "payload": {"a": [1]}}

    assert decode(json.dumps({**told, "ref": "2", "join_ref": "1"}), "1.0.0") == MESSAGE
    assert decode('["1", "2", "realtime:x", "phx_join", {"a": [1]}]', "2.0.0") == MESSAGE


def test_refs_may_be_left_out() -> None:
    told = decode('{"topic": "phoenix", "event": "heartbeat", "payload": {}}', "1.0.0")

    assert told == Message("phoenix", "heartbeat")


@pytest.mark.parametrize("version", ["1.0.0", "2.0.0"])
def test_encoded_message_is_decoded(version: Version) -> None:
    assert decode(encode(MESSAGE, version), version) == MESSAGE


def test_message_of_the_other_version_is_refused() -> None:
    for version, other in (("1.0.0", "2.0.0"), ("2.0.0", "1.0.0")):
        with pytest.raises(InputInvalidError):
            decode(encode(MESSAGE, other), version)  # type: ignore[arg-type]  # both are versions


def test_reply_has_the_refs_of_its_message() -> None:
    reply = MESSAGE.reply("error", {"reason": "No."})

    assert (reply.topic, reply.ref, reply.join_ref) == ("realtime:x", "2", "1")
    assert reply.payload == {"status": "error", "response": {"reason": "No."}}


def test_token_bucket_allows_a_burst_and_then_a_rate() -> None:
    now = 100.0
    allowance = TokenBucket(3, 0.5, lambda: now)

    assert [allowance.take() for _ in range(4)] == [True, True, True, False]
    now += 1.9
    assert not allowance.take()
    now += 0.1
    assert [allowance.take(), allowance.take()] == [True, False]
    now += 1000
    assert [allowance.take() for _ in range(4)] == [True, True, True, False]
