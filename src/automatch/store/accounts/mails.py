"""The queue of mails."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from psycopg.rows import class_row, tuple_row

from automatch.sql.statements import load
from automatch.store.call import call, call_row, call_rows
from automatch.store.database import Connection

_SQL = load("mails")


@dataclass(frozen=True, slots=True)
class TakenMail:
    """A mail that this server sends."""

    id: UUID
    kind: str
    recipient: str
    profile_id: UUID | None
    """Whose account it is about, where others may ask for a mail to the same address."""
    case_id: UUID | None
    """Of somebody who asked for something without an account."""
    attempts: int
    """This one included."""
    receipt: str | None
    """Of an erasure, where it is one."""
    language: str | None
    """Of its reader, if that is known."""


@dataclass(frozen=True, slots=True)
class WaitingMail:
    """A mail that was not sent yet, to somebody who has an account or asked for a take-down."""

    id: UUID
    kind: str
    recipient: str
    requested_at: datetime
    attempts: int
    failed: bool
    error: str | None
    profile_id: UUID | None
    """Who gets it, if they have an account."""


async def set_language(conn: Connection, language: str | None) -> None:
    """Set in which language the mails of this transaction are asked for."""
    await conn.execute(_SQL["set_language"], {"language": language or ""})


async def enqueue(
    conn: Connection,
    kind: str,
    recipient: str,
    profile_id: UUID | None = None,
    *,
    case_id: UUID | None = None,
) -> None:
    """Have a mail sent; the work is the same whether somebody has the address or not."""
    await call(
        conn,
        "enqueue_mail",
        kind=kind,
        recipient=recipient,
        profile_id=profile_id,
        case_id=case_id,
    )


async def enqueue_receipt(conn: Connection, recipient: str, receipt: str) -> None:
    """Have a receipt mailed to somebody whose account is gone."""
    await call(conn, "enqueue_receipt", recipient=recipient, receipt=receipt)


async def take(conn: Connection, lease: timedelta) -> TakenMail | None:
    """Return the mail that is due first, if any."""
    return await call_row(conn, "take_mail", class_row(TakenMail), lease=lease)


async def finish(conn: Connection, mail: TakenMail) -> None:
    """Forget a mail that was sent, or that is for nobody."""
    await call(conn, "finish_mail", id=mail.id, attempts=mail.attempts)


async def postpone(conn: Connection, mail: TakenMail, error: str, delay: timedelta | None) -> None:
    """Try a mail again after *delay*; None gives it up."""
    await call(conn, "postpone_mail", id=mail.id, attempts=mail.attempts, error=error, delay=delay)


async def list_waiting(
    conn: Connection, limit: int = 50, operator_id: UUID | None = None
) -> list[WaitingMail]:
    """Return mails that wait or failed, newest request first; none of cases of the operator."""
    return await call_rows(
        conn, "list_mails", class_row(WaitingMail), limit=limit, operator_id=operator_id
    )


async def resend(conn: Connection, mail_id: UUID) -> None:
    """Try a mail again at once.

    Raises:
        NotFoundError: no such mail waits.
    """
    await call(conn, "resend_mail", id=mail_id)


async def read(
    conn: Connection, mail_id: UUID, actor: str
) -> tuple[str, str, UUID | None, UUID | None, str | None]:
    """Return a waiting mail for an operator, and record it.

    That is its kind, recipient, profile, case and language.

    Raises:
        NotFoundError: no such mail waits, or nobody has its address.
    """
    row = await call_row(conn, "read_mail", tuple_row, id=mail_id, actor=actor)
    assert row is not None
    return row[0], row[1], row[2], row[3], row[4]
