"""One connection of a client: it handles messages in order and keeps the joined channels."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from itertools import count
from typing import Any, Protocol

from starlette.websockets import WebSocketDisconnect

from automatch.errors import AutomatchError
from automatch.errors.auth import TokenMissingError
from automatch.errors.request import InputInvalidError
from automatch.model.people import Claims, Role
from automatch.supabase_compat.realtime.channel import Channel, RealtimeDeps
from automatch.supabase_compat.realtime.limits import TokenBucket
from automatch.supabase_compat.realtime.message import Message, Version, decode, encode
from automatch.supabase_compat.realtime.subscription import parse_subscriptions

_MAX_CHANNELS = 30
_JOIN_WITHIN_S = 30.0
"""A connection without a channel belongs to nobody: anyone with the public key can open one."""
_SEND_WITHIN_S = 10.0
"""A client that reads nothing for this long is disconnected."""
_MESSAGES = (100, 10.0)
"""Burst, and rate per second. A page that reconnects joins all its channels at once."""
_JOINS = (_MAX_CHANNELS, 1.0)
_TOPIC = "realtime:"

UNSUPPORTED_DATA, POLICY_VIOLATION = 1003, 1008
"""Codes with which a connection is closed (RFC 6455, section 7.4.1)."""
NORMAL_CLOSURE = 1000


class WebSocketProtocol(Protocol):
    """A websocket, as Starlette has it."""

    async def receive(self) -> dict[str, Any]:
        """Return the next ASGI message."""
        ...

    def send_text(self, data: str) -> Awaitable[None]:
        """Send a frame; waits while the client does not read."""
        ...

    def close(self, code: int = 1000, reason: str | None = None) -> Awaitable[None]:
        """Close the connection."""
        ...


class Disconnected(Exception):  # noqa: N818  ends a connection, and is no error
    """The client does not read, or has left."""


class RealtimeConnection:
    """Serves one client until either side closes the connection."""

    def __init__(self, websocket: WebSocketProtocol, version: Version, deps: RealtimeDeps) -> None:
        self._websocket = websocket
        self._version: Version = version
        self._deps = deps
        self._channels: dict[str, Channel] = {}
        self._follow_tasks: dict[Channel, asyncio.Task[None]] = {}
        self._subscription_ids = count(1)
        self._messages = TokenBucket(*_MESSAGES)
        self._joins = TokenBucket(*_JOINS)
        self._sending = asyncio.Lock()
        self._no_channel_since = asyncio.get_running_loop().time()

    async def run(self) -> None:
        """Serve until the connection is closed, from either side; the server does when it stops."""
        try:
            async with asyncio.TaskGroup() as group:
                self._group = group
                await self._receive()
                for task in self._follow_tasks.values():
                    task.cancel()
        except* Disconnected:
            pass
        finally:
            for channel in self._channels.values():
                channel.close()

    async def _receive(self) -> None:
        while True:
            try:
                async with asyncio.timeout(self._receive_timeout_s()):
                    received = await self._websocket.receive()
            except TimeoutError:
                reason = "no heartbeat" if self._channels else "no channel was joined"
                return await self._close(NORMAL_CLOSURE, reason)
            if received["type"] == "websocket.disconnect":
                return None
            text = received.get("text")
            if text is None:
                return await self._close(UNSUPPORTED_DATA, "send text, not bytes")
            if not self._messages.take():
                return await self._close(POLICY_VIOLATION, "too many messages")
            try:
                await self._handle(decode(text, self._version))
            except InputInvalidError as exc:
                return await self._close(POLICY_VIOLATION, exc.message)

    def _receive_timeout_s(self) -> float:
        idle = self._deps.settings.realtime.idle_s
        if self._channels:
            return idle
        now = asyncio.get_running_loop().time()
        return min(idle, max(0.0, self._no_channel_since + _JOIN_WITHIN_S - now))

    async def _handle(self, message: Message) -> None:
        channel = self._channels.get(message.topic)
        match message.event:
            case "heartbeat" if message.topic == "phoenix":
                await self._send_message(message.reply("ok", {}))
            case "phx_join":
                await self._join(message)
            case "phx_leave":
                await self._send_message(message.reply("ok", {}))
                if channel is not None:
                    await self._leave(channel)
                    await channel.send_closed()
            case "access_token" if channel is not None:
                await self._change_token(channel, message.payload.get("access_token"))
            case _:
                reason = "unmatched topic" if channel is None else f"{message.event} is not offered"
                await self._send_message(message.reply("error", {"reason": reason}))

    async def _join(self, message: Message) -> None:
        try:
            channel, accepted = await self._open(message)
        except AutomatchError as exc:
            await self._send_message(message.reply("error", {"reason": exc.message}))
            return
        await self._send_message(message.reply("ok", {"postgres_changes": accepted}))
        await channel.send_subscribed()
        self._start(channel)

    async def _open(self, message: Message) -> tuple[Channel, list[dict[str, Any]]]:
        if not message.topic.startswith(_TOPIC):
            raise InputInvalidError(f"The topic of a channel begins with `{_TOPIC}`.")
        if not self._joins.take():
            # Supabase clients know this name and wait for half a minute.
            raise InputInvalidError("ClientJoinRateLimitReached: too many channels a second.")
        if (earlier := self._channels.get(message.topic)) is not None:
            await self._leave(earlier)
        if len(self._channels) >= _MAX_CHANNELS:
            raise InputInvalidError(f"A connection has at most {_MAX_CHANNELS} channels.")
        claims = self._verify(message.payload.get("access_token"))
        if claims.role is not Role.AUTHENTICATED:
            raise TokenMissingError("Sign in first: a channel needs the access token of a person.")
        subscriptions = parse_subscriptions(
            message.payload.get("config"), next(self._subscription_ids)
        )
        # Ids are never reused: a late event of an earlier channel reaches no other.
        for _ in subscriptions[1:]:
            next(self._subscription_ids)
        channel = Channel(
            self._deps,
            message,
            [subscription for subscription, _ in subscriptions],
            self._send_message,
        )
        await channel.open(claims)
        self._channels[message.topic] = channel
        return channel, [accepted for _, accepted in subscriptions]

    async def _change_token(self, channel: Channel, token: object) -> None:
        try:
            claims = self._verify(token)
            if channel.renew(claims):
                return
            # Of another person, or of nobody: clients send the public key after signing out.
            await self._stop(channel)
            await channel.open(claims)
        except AutomatchError as exc:
            await self._leave(channel)
            await channel.end(exc.message)
        else:
            if channel.is_live:
                self._start(channel)

    def _verify(self, token: object) -> Claims:
        if not isinstance(token, str) or not token:
            raise TokenMissingError("Sign in first: a channel needs the access token of a person.")
        return self._deps.verify(token)

    def _start(self, channel: Channel) -> None:
        self._follow_tasks[channel] = self._group.create_task(self._follow(channel))

    async def _follow(self, channel: Channel) -> None:
        await channel.follow()
        self._follow_tasks.pop(channel, None)
        self._remove(channel)

    async def _stop(self, channel: Channel) -> None:
        task = self._follow_tasks.pop(channel, None)
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def _leave(self, channel: Channel) -> None:
        await self._stop(channel)
        channel.close()
        self._remove(channel)

    def _remove(self, channel: Channel) -> None:
        if self._channels.get(channel.topic) is channel:
            del self._channels[channel.topic]
            self._no_channel_since = asyncio.get_running_loop().time()

    async def _send_message(self, message: Message) -> None:
        text = encode(message, self._version)
        await self._send(lambda: self._websocket.send_text(text))

    async def _close(self, code: int, reason: str) -> None:
        await self._send(lambda: self._websocket.close(code, reason[:100]))

    async def _send(self, send: Callable[[], Awaitable[None]]) -> None:
        try:
            async with asyncio.timeout(_SEND_WITHIN_S), self._sending:
                await send()
        except (TimeoutError, WebSocketDisconnect, RuntimeError) as exc:
            # RuntimeError: the server has closed the connection meanwhile.
            raise Disconnected from exc
