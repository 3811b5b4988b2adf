"""Tells devices of news: that there is some, and never who, whose face, or how alike.

The address of a device comes from its browser, so it leads only to the push services of the
settings, over HTTPS, without redirects, and nothing of an answer is read but its status.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable
from datetime import timedelta
from fnmatch import fnmatch
from typing import Self
from urllib.parse import urlsplit

import httpx2
import structlog
from webpush import WebPush, WebPushSubscription

from automatch.errors import AutomatchError
from automatch.language.catalogue import gettext as _
from automatch.language.catalogue import ngettext, speaking
from automatch.push.keys import key_pair
from automatch.settings import Settings
from automatch.settings.secrets import Secrets
from automatch.settings.server_address import find_server_url
from automatch.store.accounts import notifications
from automatch.store.accounts.notifications import Push
from automatch.store.database import Database

_LOOK_EVERY_S = 10.0
_BATCH = 50
_AT_ONCE = 10
_TIMEOUT_S = 10.0
_LEASE = timedelta(minutes=5)
_LIFE_S = 86400
"""For how long a push service keeps the news for a device that is off."""
_DELAYS_S = (60, 300, 1800, 7200, 21600)
"""Before each further attempt; a device that is not reached by then is forgotten."""
_GONE = {404, 410}
_REFUSED = {400, 401, 403, 413}
"""The subscription was made for another key, or never worked."""
_HOST = re.compile(r"[a-z0-9.-]+")

log = structlog.get_logger(__name__)


def is_push_address(endpoint: str, hosts: str) -> bool:
    """Tell whether an address leads to one of the push services in *hosts*."""
    try:
        # As the client that sends will read it.
        url = httpx2.URL(endpoint)
    except (httpx2.InvalidURL, ValueError):
        return False
    host = url.host if url.port is None else f"{url.host}:{url.port}"
    return (
        url.scheme == "https"
        and not url.userinfo
        and _HOST.fullmatch(url.host) is not None
        and any(fnmatch(host, pattern) for pattern in hosts.split())
    )


class PushSender:
    """Sends to the devices that are due. Several servers share them."""

    def __init__(
        self,
        db: Database,
        web_push: WebPush,
        client: Callable[[], httpx2.AsyncClient],
        *,
        hosts: str,
        quiet: timedelta,
    ) -> None:
        self._db = db
        self._web_push = web_push
        self._client = client
        self._hosts = hosts
        self._quiet = quiet
        self._at_once = asyncio.Semaphore(_AT_ONCE)

    @classmethod
    def from_settings(cls, settings: Settings, secrets: Secrets, db: Database) -> Self | None:
        """Return what tells the devices of an installation, or None where none are told."""
        if not settings.notifications.push_hosts:
            return None
        private, public = key_pair(secrets.push_key)
        host = urlsplit(find_server_url(settings)).hostname or "localhost"
        return cls(
            db,
            WebPush(private, public, subscriber=f"push@{host}", ttl=_LIFE_S),
            lambda: httpx2.AsyncClient(timeout=_TIMEOUT_S, follow_redirects=False),
            hosts=settings.notifications.push_hosts,
            quiet=timedelta(seconds=settings.notifications.quiet_s),
        )

    async def run(self) -> None:
        """Tell devices until cancelled."""
        while True:
            try:
                while await self.send_some() == _BATCH:
                    pass
            except AutomatchError as exc:
                log.warning("devices to tell could not be read", error=exc.code)
            await asyncio.sleep(_LOOK_EVERY_S)

    async def send_some(self) -> int:
        """Tell some devices; return how many were due."""
        async with self._db.connection() as conn:
            pushes = await notifications.take_pushes(conn, _BATCH, _LEASE)
        if pushes:
            async with self._client() as client:
                told = await asyncio.gather(
                    *(self._tell(client, push) for push in pushes), return_exceptions=True
                )
            # What the database refuses for one is raised when the others are told.
            for failure in told:
                if failure is not None:
                    raise failure
        return len(pushes)

    async def _tell(self, client: httpx2.AsyncClient, push: Push) -> None:
        status = None
        async with self._at_once:
            try:
                status = await self._send(client, push)
            except Exception as exc:
                # One that cannot be told must not hold up all others. The text may name the device.
                log.warning("device could not be told", error=type(exc).__name__)
        if status is not None and status < 300:
            async with self._db.connection() as conn:
                await notifications.finish_push(conn, push, self._quiet)
            return
        is_gone = status in _GONE or status in _REFUSED or push.attempts > len(_DELAYS_S)
        delay = None if is_gone else timedelta(seconds=_DELAYS_S[push.attempts - 1])
        async with self._db.connection() as conn:
            await notifications.postpone_push(conn, push, delay)
        log.info("device not told", status=status, forgotten=is_gone)

    async def _send(self, client: httpx2.AsyncClient, push: Push) -> int | None:
        """Return the status of the answer; None without one, 410 where nothing can be sent."""
        if not is_push_address(push.endpoint, self._hosts):
            return 410
        try:
            message = self._web_push.get(
                json.dumps(_describe(push)),
                WebPushSubscription.model_validate(
                    {
                        "endpoint": push.endpoint,
                        "keys": {"p256dh": push.p256dh, "auth": push.auth},
                    }
                ),
            )
        except ValueError:
            # What the browser gave is no key.
            return 410
        headers = {**message.headers, "urgency": "normal", "topic": "look-alikes"}
        try:
            async with client.stream(
                "POST", push.endpoint, content=message.encrypted, headers=headers
            ) as answer:
                return answer.status_code
        except httpx2.HTTPError:
            return None


def _describe(push: Push) -> dict[str, object]:
    with speaking(push.language):
        if push.is_mutual:
            text = _("Somebody you like liked you back.")
        else:
            text = ngettext(
                "You have a new look-alike.", "You have %(num)d new look-alikes.", push.news
            )
    return {"title": "Auto-Match", "text": text, "news": push.news, "address": "/feed"}
