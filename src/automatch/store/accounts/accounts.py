"""Users, their sessions, and refresh tokens, of which only a hash is stored.

All functions run as the API's login, before the user is known.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Literal
from uuid import UUID

from psycopg.rows import class_row, tuple_row
from psycopg.types.json import Jsonb

from automatch.errors.request import EmailTakenError
from automatch.model.people import Claims, EmailChange, LinkUser, User, UserSession
from automatch.sql.statements import load
from automatch.store.call import call, call_row, call_rows, call_value
from automatch.store.database import Connection

if TYPE_CHECKING:
    from psycopg import AsyncCursor

_SQL = load("database")


def hash_token(token: str) -> bytes:
    """Return what is kept of a token: random ones of 256 bits need no slow hash."""
    return hashlib.sha256(token.encode()).digest()


async def create_user(
    conn: Connection, *, email: str, encrypted_password: str, data: dict[str, Any]
) -> UUID:
    """Create a user and, by trigger, their empty profile.

    Raises:
        EmailTakenError: someone has this address.
    """
    user_id: UUID | None = await call_value(
        conn,
        "auth.create_user",
        email=email,
        encrypted_password=encrypted_password,
        data=Jsonb(data),
    )
    if user_id is None:
        raise EmailTakenError
    return user_id


async def sign_up(
    conn: Connection, *, email: str, encrypted_password: str, data: dict[str, Any]
) -> UUID | None:
    """Create a user whom nobody is before the address is confirmed; mail it in any case.

    None, after as much work, when somebody has this address.
    """
    user_id: UUID | None = await call_value(
        conn,
        "auth.sign_up",
        email=email,
        encrypted_password=encrypted_password,
        data=Jsonb(data),
    )
    return user_id


async def find_credentials(conn: Connection, email: str) -> tuple[UUID, str] | None:
    """Return the id and the password hash of the user with this address."""
    return await call_row(conn, "auth.find_credentials", tuple_row, email=email)


async def start_session(conn: Connection, user_id: UUID, token_sha256: bytes) -> UUID:
    session_id: UUID = await call_value(
        conn, "auth.start_session", user_id=user_id, token_sha256=token_sha256
    )
    return session_id


async def rotate_refresh_token(
    conn: Connection, *, used_sha256: bytes, new_sha256: bytes, reuse_s: int, unused_s: int
) -> tuple[UUID, UUID] | None:
    """Replace a refresh token by a new one; return (session, user), or None when it is invalid.

    A token that was used longer ago than *reuse_s* ends its session: two people have it.
    """
    return await call_row(
        conn,
        "auth.rotate_refresh_token",
        tuple_row,
        token_sha256=used_sha256,
        new_token_sha256=new_sha256,
        reuse=timedelta(seconds=reuse_s),
        unused=timedelta(seconds=unused_s),
    )


async def end_sessions(
    conn: Connection, session_id: UUID, scope: Literal["global", "local", "others"]
) -> None:
    """End sessions of the user of an open session: all, this one, or all others."""
    await call(conn, "auth.end_sessions", session_id=session_id, scope=scope)


async def list_sessions(conn: Connection, session_id: UUID) -> list[UserSession]:
    """Return at most 100 sessions of the user, the given one first, then the latest used."""
    return await call_rows(
        conn, "auth.list_sessions", class_row(UserSession), session_id=session_id
    )


async def update_user(
    conn: Connection,
    session_id: UUID,
    *,
    encrypted_password: str | None,
    data: dict[str, Any] | None,
) -> None:
    """Change the user of an open session; a new password ends their other sessions."""
    await call(
        conn,
        "auth.update_user",
        session_id=session_id,
        encrypted_password=encrypted_password,
        data=None if data is None else Jsonb(data),
    )


async def load_session_user(conn: Connection, session_id: UUID) -> User | None:
    """Return the user of a session, or None once it has ended."""
    return await call_row(conn, "auth.session_user_of", class_row(User), session_id=session_id)


async def list_ended_sessions(conn: Connection, claims: Sequence[Claims]) -> list[int]:
    """Return which of *claims* are of a session that has ended, as their indexes."""
    cursor = await send_ended_sessions(conn, claims)
    return [number - 1 for (number,) in await cursor.fetchall()]


async def send_ended_sessions(
    conn: Connection, claims: Sequence[Claims]
) -> AsyncCursor[tuple[int]]:
    """Ask the same; inside a pipeline the cursor has the numbers, from 1, once that is left."""
    return await call(
        conn,
        "list_ended_sessions",
        session_ids=[each.session_id for each in claims],
        user_ids=[each.subject for each in claims],
        external=[each.external for each in claims],
    )


async def request_email_change(
    conn: Connection, session_id: UUID, new_email: str, life_s: int
) -> bool:
    """Have both addresses asked about a change; return False once the session has ended."""
    return bool(
        await call_value(
            conn,
            "auth.request_email_change",
            session_id=session_id,
            new_email=new_email,
            life=timedelta(seconds=life_s),
        )
    )


async def resend_email_change(conn: Connection, email: str) -> None:
    """Mail the links of the change that waits for an account again, if there is one."""
    await call(conn, "auth.resend_email_change", email=email)


async def find_email_change(conn: Connection, token_sha256: bytes) -> EmailChange | None:
    """Return the change that a link confirms, without using it up."""
    return await call_row(
        conn, "auth.find_email_change", class_row(EmailChange), token_sha256=token_sha256
    )


async def confirm_email_change(conn: Connection, token_sha256: bytes) -> str | None:
    """Use the link of one address; return `waiting`, `changed`, or None when it does not work."""
    outcome: str | None = await call_value(
        conn, "auth.confirm_email_change", token_sha256=token_sha256
    )
    return outcome


async def find_invitable(conn: Connection, user_id: UUID) -> str | None:
    """Return the address of an account that nobody has used yet, or None."""
    email: str | None = await call_value(conn, "auth.find_invitable", user_id=user_id)
    return email


async def invite_imported(conn: Connection, import_id: UUID, pause: timedelta) -> int:
    """Have the people of an import invited who never used their account; return how many."""
    return int(
        await call_value(conn, "auth.invite_imported", import_id=import_id, pause=pause) or 0
    )


async def count_invitations(conn: Connection) -> int:
    """Return how many invitations wait to be mailed."""
    return int(await call_value(conn, "auth.count_invitations") or 0)


async def create_one_time_token(
    conn: Connection,
    *,
    email: str,
    purpose: str,
    token_sha256: bytes,
    life_s: int,
    user_id: UUID | None = None,
) -> UUID | None:
    """Keep a token for the user with an address; return their id, or None when there is none."""
    found: UUID | None = await call_value(
        conn,
        "auth.create_one_time_token",
        email=email,
        purpose=purpose,
        token_sha256=token_sha256,
        life=timedelta(seconds=life_s),
        user_id=user_id,
    )
    return found


async def find_one_time_token(
    conn: Connection, token_sha256: bytes, purpose: str
) -> LinkUser | None:
    """Return whom a token is for, or None when it does not work."""
    return await call_row(
        conn,
        "auth.find_one_time_token",
        class_row(LinkUser),
        token_sha256=token_sha256,
        purpose=purpose,
    )


async def use_one_time_token(
    conn: Connection, token_sha256: bytes, purpose: str, encrypted_password: str | None = None
) -> UUID | None:
    """Use a token up and return whose it is, or None; a password becomes theirs."""
    user_id: UUID | None = await call_value(
        conn,
        "auth.use_one_time_token",
        token_sha256=token_sha256,
        purpose=purpose,
        encrypted_password=encrypted_password,
    )
    return user_id


async def start_operator_session(conn: Connection, user_id: UUID) -> UUID | None:
    """Start a session in which an operator acts as somebody; None when there is no account."""
    session_id: UUID | None = await call_value(conn, "auth.start_operator_session", user_id=user_id)
    return session_id


async def note_password(conn: Connection, session_id: UUID) -> None:
    """Note that the person of a session has just entered their password."""
    await call(conn, "auth.enter_password", session_id=session_id)
