"""Who runs this installation and the texts that they publish; pages show it within seconds."""

from __future__ import annotations

import asyncio
import math
import re
import time
from collections.abc import Callable

from automatch.errors import AutomatchError
from automatch.errors.request import InputInvalidError
from automatch.model.notices import NoticeKind, PublishedNotice, SiteOperator
from automatch.model.operators import Operator
from automatch.services.operators.acts import Act, authorized
from automatch.services.validators import has_controls
from automatch.store.database import Database
from automatch.store.operators import notices

READ_EVERY_S = 5.0
_EMAIL = re.compile(r"[A-Za-z0-9._+-]{1,64}@[A-Za-z0-9.-]{1,190}")
"""As it stands in a `mailto:` link."""
_URL = re.compile(r"https?://[^\s\x00-\x1f\x7f<>\"]+")
_LANGUAGE = re.compile(r"[a-z]{2,3}(-[A-Za-z0-9]{2,8})*")


class SiteOperatorCache:
    """Keeps who runs this, so that no page waits for it; all servers read the same row."""

    def __init__(self, db: Database, clock: Callable[[], float] = time.monotonic) -> None:
        self._db = db
        self._clock = clock
        self._known: SiteOperator | None = None
        self._stale_at = -math.inf
        self._reading = asyncio.Lock()

    async def load(self) -> SiteOperator | None:
        """Return who runs this; None while the database has not said it yet."""
        # Those who come while one reads get what was known before.
        if self._clock() >= self._stale_at and (self._known is None or not self._reading.locked()):
            async with self._reading:
                if self._clock() >= self._stale_at:
                    await self._read()
        return self._known

    async def _read(self) -> None:
        try:
            async with self._db.connection() as conn:
                self._known = await notices.load_site_operator(conn)
        except AutomatchError:
            # A page that says so is shown with what is known.
            pass
        self._stale_at = self._clock() + READ_EVERY_S


async def load_texts(
    db: Database,
) -> tuple[SiteOperator, list[tuple[NoticeKind, PublishedNotice]]]:
    """Return who runs this, and all versions of all texts, newest first."""
    async with db.connection() as conn:
        return await notices.load_site_operator(conn), [
            (kind, notice)
            for kind in NoticeKind
            for notice in await notices.list_published(conn, kind)
        ]


async def set_site_operator(
    db: Database, operator: Operator, *, name: str | None, email: str | None, url: str | None
) -> None:
    """Say who runs this; None leaves a value as it is, an empty text removes it.

    Raises:
        InputInvalidError: a value is not what its name says.
        ForbiddenError, and others: see `authorized`.
    """
    if name and (len(name.strip()) > 120 or not name.isprintable()):
        raise InputInvalidError("Give a name of one line, of at most 120 characters.")
    if email and email.strip() and not _EMAIL.fullmatch(email.strip()):
        raise InputInvalidError("Give an e-mail address such as you@example.org.")
    if url and url.strip() and (len(url) > 300 or not _URL.fullmatch(url.strip())):
        raise InputInvalidError("Give a web address such as https://example.org/contact.")
    values = {"name": name, "email": email, "url": url}
    details = {"changed": [key for key, value in values.items() if value is not None]}
    async with authorized(db, operator, Act.SET_SITE_OPERATOR, details=details) as conn:
        await notices.set_site_operator(conn, name=name, email=email, url=url)


async def publish_notice(
    db: Database,
    operator: Operator,
    kind: NoticeKind,
    *,
    language: str,
    body: str,
    asks_again: bool = False,
) -> str:
    """Publish a text for good, and return its version; it holds for readers of its language.

    Raises:
        InputInvalidError: it is empty, too long or not displayable, or the language is not a tag.
        ForbiddenError, and others: see `authorized`.
    """
    if not _LANGUAGE.fullmatch(language):
        raise InputInvalidError("Give a language code such as en or vi.")
    if has_controls(body.translate({ord("\n"): " ", ord("\t"): " "})):
        raise InputInvalidError("The text has control characters; write it as plain text.")
    details: dict[str, object] = {"kind": kind.value, "asks_again": asks_again}
    async with authorized(db, operator, Act.PUBLISH_NOTICE, details=details) as conn:
        details["version"] = await notices.publish(
            conn, kind, language=language, body=body, asks_again=asks_again
        )
    return str(details["version"])
