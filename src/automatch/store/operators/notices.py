"""Who runs this installation, and the texts that they published."""

from __future__ import annotations

from psycopg.rows import class_row

from automatch.model.notices import Notice, NoticeKind, PublishedNotice, SiteOperator
from automatch.store.call import call, call_row, call_rows, call_value
from automatch.store.database import Connection


async def load_site_operator(conn: Connection) -> SiteOperator:
    operator = await call_row(conn, "get_site_operator", class_row(SiteOperator))
    assert operator is not None, "operator_identity has one row"
    return operator


async def set_site_operator(
    conn: Connection, *, name: str | None, email: str | None, url: str | None
) -> None:
    """Change who runs this; None leaves a value as it is, an empty text removes it.

    Raises:
        InputInvalidError: a value is not what its name says.
    """
    await call(conn, "set_site_operator", name=name, contact_email=email, contact_url=url)


async def list_current(conn: Connection, kind: NoticeKind) -> list[Notice]:
    """Return the texts that hold now, one for each language."""
    return await call_rows(conn, "current_notices", class_row(Notice), kind=kind.value)


async def list_published(conn: Connection, kind: NoticeKind) -> list[PublishedNotice]:
    """Return all versions, newest first."""
    return await call_rows(conn, "list_notices", class_row(PublishedNotice), kind=kind.value)


async def publish(
    conn: Connection, kind: NoticeKind, *, language: str, body: str, asks_again: bool
) -> str:
    """Publish a text that holds from now on for readers of its language; return its version.

    Raises:
        InputInvalidError: it is empty or too long, or the language is not a tag.
    """
    return str(
        await call_value(
            conn,
            "publish_notice",
            kind=kind.value,
            language=language,
            body=body,
            asks_again=asks_again,
        )
    )
