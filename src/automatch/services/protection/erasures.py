"""Erasing a person: their rows, the files of their photos, a line in the log, and a receipt."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Literal
from uuid import UUID, uuid4

import structlog

from automatch.auth.addresses import AddressKey
from automatch.auth.receipts import Receipts
from automatch.errors import AutomatchError
from automatch.language.catalogue import preferred_language
from automatch.model.people import Claims
from automatch.photos.store import PhotoStore
from automatch.services.validators import normalize_email
from automatch.settings import Settings
from automatch.settings.server_address import find_server_url
from automatch.store.accounts import mails
from automatch.store.database import Database
from automatch.store.people import profiles
from automatch.store.photos.photo_store import check_photo_store
from automatch.store.protection import erasures
from automatch.store.protection.erasure_log import ErasureLog
from automatch.store.protection.erasures import Erased

Act = Literal["person", "operator", "retention"]

_NOT_YET = (
    "bytes of deleted rows in the files of the database and in its write-ahead log, which go "
    "within minutes where Auto-Match runs the database",
    "backups that were made before; a restore erases again whom its log of erasures names",
)
_KEPT = (
    "for a year, under a keyed hash of the address: the changes of school and gender, and the "
    "searches of the last day, so that they count for a new account with it"
)

log = structlog.get_logger(__name__)


class Erasures:
    """Erases people for good.

    Args:
        addresses: by what people who erase themselves are recognized when they come back.
        mails_receipts: whether a receipt is mailed to the address of who was erased.
        server_url: returns the address of the server, which the receipt names.
    """

    def __init__(
        self,
        db: Database,
        photos: PhotoStore,
        receipts: Receipts,
        erasure_log: ErasureLog,
        *,
        addresses: AddressKey | None = None,
        mails_receipts: bool,
        server_url: Callable[[], str],
    ) -> None:
        self._db = db
        self._photos = photos
        self.receipts = receipts
        self._log = erasure_log
        self._addresses = addresses
        self.mails_receipts = mails_receipts
        self._server_url = server_url

    async def erase_own(self, claims: Claims) -> str | None:
        """Erase the account of a session; return the receipt, None if none could be made.

        Raises:
            TokenInvalidError: the session has ended.
            LastOwnerError: nobody else is an owner of the installation.
        """
        async with self._db.as_user(claims) as conn:
            email = (await profiles.load_profile(conn)).email
            account = normalize_email(email) if email else None
            if account is not None and self._addresses is not None:
                await profiles.set_address_hash(conn, self._addresses.hash(account))
            erased = await erasures.erase_account(conn)
        return await self.finish(erased, preferred_language())

    async def erase(self, person_id: UUID, act: Act) -> str | None:
        """Erase somebody else's account; return the receipt, None if none could be made.

        Raises:
            NotFoundError: there is no such person.
        """
        async with self._db.transaction() as conn:
            erased = await erasures.erase_person(conn, person_id, act)
        return await self.finish(erased)

    async def finish(self, erased: Erased, language: str | None = None) -> str | None:
        """Do what follows on the commit of an erasure; return the receipt, None without one.

        It is mailed in the *language* of the person.
        """
        # They are gone: what fails from here on is done later, or told, and undoes nothing.
        photos_left = await self._erase_files(erased.paths)
        try:
            await erasures.write_log(self._db, self._log)
        except AutomatchError as exc:
            log.error("erasure not in the log yet; it is tried again", error=exc.code)  # noqa: TRY400
        try:
            receipt = self.receipts.sign(self._describe(erased, photos_left))
            if self.mails_receipts and erased.email:
                async with self._db.transaction() as conn:
                    await mails.set_language(conn, language)
                    await mails.enqueue_receipt(conn, erased.email, receipt)
        except AutomatchError as exc:
            log.error("no receipt of an erasure", error=exc.code)  # noqa: TRY400
            return None
        return receipt

    async def _erase_files(self, paths: list[str]) -> int:
        """Delete the files of photos; return of how many some are left, for a worker."""
        if paths and self._photos.mark is None:
            try:
                # A command has not asked yet whether these are the photos of this database.
                async with self._db.transaction() as conn:
                    await check_photo_store(conn, self._photos, may_claim=False)
            except AutomatchError:
                return len(paths)
        return len(await self._photos.erase(paths))

    def _describe(self, erased: Erased, photos_left: int) -> dict[str, Any]:
        now = datetime.now(UTC)
        return {
            "iss": self._server_url(),
            "iat": int(now.timestamp()),
            "jti": str(uuid4()),
            "erased_at": now.isoformat(timespec="seconds"),
            "act": erased.act,
            "person_sha256": erased.person,
            "photos_sha256": erased.photos,
            "destroyed": {
                "database": erased.rows,
                "photo store": {
                    "photos": len(erased.paths) - photos_left,
                    "still to be deleted": photos_left,
                },
            },
            "not_yet": [*_NOT_YET, *([_KEPT] if erased.act == "person" else [])],
        }


def make_erasures(
    settings: Settings,
    db: Database,
    photos: PhotoStore,
    *,
    addresses: AddressKey | None = None,
) -> Erasures:
    """Return what erases people in an installation; *db* is of the login of a server or worker."""
    return Erasures(
        db,
        photos,
        Receipts(settings.home),
        ErasureLog(settings.erasure_log),
        addresses=addresses,
        mails_receipts=settings.mails_people,
        server_url=lambda: find_server_url(settings),
    )
