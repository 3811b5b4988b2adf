"""One joined channel: what it subscribes to, for whom, and until when.

A channel pulls. Woken by the notifier, it reads new rows with its person's rights, from the number
it read last, and sends them before it reads on. So a slow client holds one page of rows in memory
and no queue, and nothing is lost while the listener or the database is away.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

from automatch.errors.auth import TokenInvalidError
from automatch.errors.store import StoreError
from automatch.feed.live import LiveFeed
from automatch.feed.notifier import Subscriber
from automatch.model.people import Claims, Role
from automatch.settings import Settings
from automatch.store.database import Database
from automatch.supabase_compat.realtime.limits import ConnectionLimits
from automatch.supabase_compat.realtime.message import Message
from automatch.supabase_compat.realtime.source import Source, sources_for
from automatch.supabase_compat.realtime.subscription import Subscription, serialize_changes
from automatch.supabase_compat.realtime.table import MATCHES

_EXTENSION = "postgres_changes"


@dataclass(frozen=True)
class RealtimeDeps:
    """What all connections of the server share."""

    settings: Settings
    db: Database
    live: LiveFeed
    limits: ConnectionLimits
    verify: Callable[[str], Claims]
    """Return the claims of a token, or raise an AuthError."""


class Channel:
    """A topic that a client has joined."""

    def __init__(
        self,
        deps: RealtimeDeps,
        joined: Message,
        subscriptions: Sequence[Subscription],
        send: Callable[[Message], Awaitable[None]],
    ) -> None:
        self._deps = deps
        self.topic = joined.topic
        self.join_ref = joined.join_ref or joined.ref
        self._subscriptions = subscriptions
        self._send = send
        self._sources: list[Source] = []
        self._subscriber: Subscriber | None = None
        self._changed = asyncio.Event()
        self._opened = 0.0
        self._resources = ExitStack()

    async def open(self, claims: Claims) -> None:
        """Send a person's changes from now on; none if the claims are those of a project key.

        Raises:
            TokenInvalidError: the session has ended.
            TooManyStreamsError: this person has too many channels.
            DatabaseUnavailableError: the database does not answer.
        """
        self.close()
        if claims.role is not Role.AUTHENTICATED or claims.subject is None:
            return
        with ExitStack() as resources:
            resources.enter_context(self._deps.limits.channel(claims.subject))
            subscriber = Subscriber(claims, self._changed.set)
            self._deps.live.notifier.add(subscriber, as_stream=False)
            resources.callback(self._deps.live.notifier.remove, subscriber, as_stream=False)
            self._changed.set()
            opened = self._deps.live.deliveries.open_page()
            sources = sources_for(each.table for each in self._subscriptions)
            async with self._deps.db.as_user(claims) as conn:
                for source in sources:
                    await source.start(conn)
            self._resources = resources.pop_all()
        self._subscriber, self._sources, self._opened = subscriber, sources, opened

    @property
    def is_live(self) -> bool:
        """Whether the channel sends the changes of a person."""
        return self._subscriber is not None

    def renew(self, claims: Claims) -> bool:
        """Replace the token by a newer one of the same person; False when it is another's."""
        subscriber = self._subscriber
        if subscriber is None or subscriber.claims.subject != claims.subject:
            return False
        subscriber.claims, subscriber.has_ended = claims, False
        self._changed.set()
        return True

    def close(self) -> None:
        """Release what the channel holds."""
        self._subscriber = None
        self._resources.close()

    async def follow(self) -> None:
        """Send changes; return when the token has expired or the session has ended."""
        while not self._deps.live.notifier.closing.is_set():
            subscriber = self._subscriber
            if subscriber is None:
                return
            if subscriber.has_ended:
                await self.end("The session has ended: sign in again.")
                return
            assert subscriber.claims.expires_at is not None
            remaining_s = subscriber.claims.expires_at - time.time()
            if remaining_s <= 0:
                await self.end("Token has expired: send a new one as access_token, or join again.")
                return
            try:
                async with asyncio.timeout(remaining_s):
                    await self._changed.wait()
            except TimeoutError:
                continue
            self._changed.clear()
            if not subscriber.has_ended:
                await self._send_changes(subscriber)

    async def _send_changes(self, subscriber: Subscriber) -> None:
        claims = subscriber.claims
        try:
            for source in self._sources:
                changes = await source.read(self._deps.live.reader, claims)
                for change in changes:
                    for payload in serialize_changes(change, self._subscriptions):
                        await self._send(self._push(_EXTENSION, payload))
                        if change.table is MATCHES and claims.subject is not None:
                            self._deps.live.deliveries.note(
                                claims.subject, change.row["id"], opened=self._opened
                            )
                source.commit()
                if changes:
                    self._changed.set()
        except TokenInvalidError:
            # Unless the client sent a token of another session meanwhile.
            subscriber.has_ended = subscriber.claims is claims
            self._changed.set()
        except StoreError:
            self._changed.set()
            await self._pause()

    async def end(self, reason: str) -> None:
        """Close the channel and send the client the reason."""
        self.close()
        await self._send(self._push("system", self._status("error", reason, "system")))
        await self.send_closed()

    async def send_closed(self) -> None:
        """Send the client that the channel is closed."""
        await self._send(Message(self.topic, "phx_close", {}, self.join_ref, self.join_ref))

    async def send_subscribed(self) -> None:
        """Send the client that changes will follow from now on."""
        status = self._status("ok", "Subscribed to PostgreSQL", _EXTENSION)
        await self._send(self._push("system", status))

    async def _pause(self) -> None:
        try:
            async with asyncio.timeout(self._deps.settings.feed.poll_s):
                await self._deps.live.notifier.closing.wait()
        except TimeoutError:
            pass

    def _push(self, event: str, payload: dict[str, Any]) -> Message:
        return Message(self.topic, event, payload, None, self.join_ref)

    def _status(self, status: str, message: str, extension: str) -> dict[str, Any]:
        return {
            "status": status,
            "message": message,
            "extension": extension,
            "channel": self.topic.partition(":")[2],
        }
