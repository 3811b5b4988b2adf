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

from automatch.errors.store import StoreError
from automatch.feed.notifier import FeedNotifier
from automatch.model.people import Claims, Role
from automatch.settings import Settings
from automatch.store.database import Database
from automatch.supabase_compat.realtime.limits import ConnectionLimits
from automatch.supabase_compat.realtime.message import Message
from automatch.supabase_compat.realtime.source import Source, sources_of
from automatch.supabase_compat.realtime.subscription import Subscription, serialize_changes

_EXTENSION = "postgres_changes"


@dataclass(frozen=True)
class RealtimeDeps:
    """What connections are made of, once for the server."""

    settings: Settings
    db: Database
    notifier: FeedNotifier
    limits: ConnectionLimits
    verify: Callable[[str], Claims]
    """Return who a token speaks for, or raise an AuthError."""
    is_signed_in: Callable[[Claims], Awaitable[bool]]
    """Tell whether the session of a token that is still valid has not ended."""


class Channel:
    """A topic that a client has joined."""

    def __init__(
        self,
        deps: RealtimeDeps,
        joined: Message,
        subscriptions: Sequence[Subscription],
        tell: Callable[[Message], Awaitable[None]],
    ) -> None:
        self._deps = deps
        self.topic = joined.topic
        self.join_ref = joined.join_ref or joined.ref
        self._subscriptions = subscriptions
        self._tell = tell
        self._sources: list[Source] = []
        self._claims: Claims | None = None
        self._news = asyncio.Event()
        self._held = ExitStack()

    async def begin(self, claims: Claims) -> None:
        """Speak for a person from now on; for nobody where the claims are a key of the project.

        Raises:
            TooManyStreamsError: this person has too many channels.
            DatabaseUnavailableError: the database does not answer.
        """
        self.close()
        if claims.role is not Role.AUTHENTICATED or claims.subject is None:
            return
        with ExitStack() as held:
            held.enter_context(self._deps.limits.channel(claims.subject))
            news = held.enter_context(self._deps.notifier.watch(claims.subject, as_stream=False))
            sources = sources_of(each.table for each in self._subscriptions)
            async with self._deps.db.as_user(claims) as conn:
                for source in sources:
                    await source.begin(conn)
            self._held = held.pop_all()
        self._claims, self._sources, self._news = claims, sources, news

    @property
    def is_live(self) -> bool:
        """Whether the channel speaks for a person."""
        return self._claims is not None

    def renew(self, claims: Claims) -> bool:
        """Go on with a newer token of the same person; False when it is somebody else's."""
        if self._claims is None or self._claims.subject != claims.subject:
            return False
        self._claims = claims
        self._news.set()
        return True

    def close(self) -> None:
        """Let go of what the channel holds."""
        self._claims = None
        self._held.close()

    async def follow(self) -> None:
        """Tell what changes; returns when the token has expired or the session has ended."""
        while (claims := self._claims) is not None and not self._deps.notifier.closing.is_set():
            assert claims.expires_at is not None
            left = claims.expires_at - time.time()
            if left <= 0:
                await self.end("Token has expired: send a new one as access_token, or join again.")
                return
            try:
                async with asyncio.timeout(left):
                    await self._news.wait()
            except TimeoutError:
                continue
            self._news.clear()
            if not await self._tell_news(claims):
                await self.end("The session has ended: sign in again.")
                return

    async def _tell_news(self, claims: Claims) -> bool:
        """Tell what is new; False when the person has signed out."""
        try:
            if not await self._deps.is_signed_in(claims):
                return False
            for source in self._sources:
                async with self._deps.db.as_user(claims) as conn:
                    changes = await source.read(conn)
                for change in changes:
                    for payload in serialize_changes(change, self._subscriptions):
                        await self._tell(self._push(_EXTENSION, payload))
                source.commit()
                if changes:
                    self._news.set()
        except StoreError:
            self._news.set()
            await self._pause()
        return True

    async def end(self, reason: str) -> None:
        """Tell the client that and why the channel ends."""
        self.close()
        await self._tell(self._push("system", self._status("error", reason, "system")))
        await self.say_closed()

    async def say_closed(self) -> None:
        """Tell the client that the channel is closed."""
        await self._tell(Message(self.topic, "phx_close", {}, self.join_ref, self.join_ref))

    async def welcome(self) -> None:
        """Tell the client that changes will come from now on."""
        told = self._status("ok", "Subscribed to PostgreSQL", _EXTENSION)
        await self._tell(self._push("system", told))

    async def _pause(self) -> None:
        try:
            async with asyncio.timeout(self._deps.settings.feed.poll_s):
                await self._deps.notifier.closing.wait()
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
