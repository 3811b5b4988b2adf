"""What a person wants to be told of while no page is open, and how."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from automatch.errors.request import InputInvalidError
from automatch.language.catalogue import current_language
from automatch.model.people import Claims
from automatch.push.keys import public_key
from automatch.push.sender import is_push_address
from automatch.settings import Settings
from automatch.settings.secrets import Secrets
from automatch.store.accounts import notifications
from automatch.store.database import Database

DIGESTS = ("off", "daily", "weekly")


class DeviceKeys(BaseModel):
    """What a message to the device is encrypted for."""

    model_config = ConfigDict(extra="ignore", strict=True)

    p256dh: str = Field(min_length=80, max_length=100, pattern=r"^[A-Za-z0-9_-]+=*$")
    auth: str = Field(min_length=20, max_length=40, pattern=r"^[A-Za-z0-9_-]+=*$")


class Device(BaseModel):
    """A subscription as the browser writes it."""

    model_config = ConfigDict(extra="ignore", strict=True)

    endpoint: str = Field(min_length=10, max_length=1000)
    keys: DeviceKeys


@dataclass(frozen=True, slots=True)
class NotificationChoices:
    """What a person chose, and what there is to choose."""

    push_key: str | None
    """What a browser subscribes with; None where no device is told."""
    digest: str
    """One of `DIGESTS`."""
    sends_mail: bool


class Notifications:
    """Keeps what people want to be told."""

    def __init__(self, db: Database, settings: Settings, secrets: Secrets) -> None:
        self._db = db
        self._hosts = settings.notifications.push_hosts
        self._sends_mail = settings.mails_people
        self._push_key = public_key(secrets.push_key) if self._hosts else None

    async def load(self, claims: Claims) -> NotificationChoices:
        """Return what the caller chose."""
        async with self._db.as_user(claims) as conn:
            digest = await notifications.get_digest(conn)
        return NotificationChoices(self._push_key, digest, self._sends_mail)

    async def add_device(self, claims: Claims, device: Device) -> None:
        """Tell the caller on a device, until their session ends.

        Raises:
            InputInvalidError: it is reached by a push service that the settings do not name.
        """
        if not is_push_address(device.endpoint, self._hosts):
            raise InputInvalidError("Notifications of this browser are not supported here.")
        async with self._db.as_user(claims) as conn:
            await notifications.subscribe(
                conn,
                device.endpoint,
                device.keys.p256dh,
                device.keys.auth,
                current_language(),
            )

    async def remove_device(self, claims: Claims, endpoint: str) -> None:
        """Tell the caller on a device no more."""
        async with self._db.as_user(claims) as conn:
            await notifications.unsubscribe(conn, endpoint)

    async def set_digest(self, claims: Claims, digest: str) -> None:
        """Set how often the caller gets mail about news.

        Raises:
            InputInvalidError: there is no such choice.
        """
        if digest not in DIGESTS:
            raise InputInvalidError("Choose off, daily or weekly.")
        async with self._db.as_user(claims) as conn:
            await notifications.set_digest(conn, digest)

    async def end_digest(self, token: str) -> None:
        """End the mails of whoever has got one with this token; without a word if nobody has."""
        try:
            found = UUID(token)
        except ValueError:
            return
        async with self._db.connection() as conn:
            await notifications.end_digest(conn, found)
