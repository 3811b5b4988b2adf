"""Makes the mail of a waiting request, with the link that only its reader gets."""

from __future__ import annotations

import secrets
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from urllib.parse import urlencode
from uuid import UUID

from automatch.language.catalogue import ENGLISH, speaking
from automatch.language.formats import as_day, as_minute
from automatch.mail.message import MailKind, MailText, write_mail
from automatch.settings.server import AuthSettings
from automatch.store.accounts import accounts, notifications
from automatch.store.database import Connection
from automatch.store.operators.notices import load_site_operator
from automatch.store.operators.operators import list_impersonations
from automatch.store.protection import cases

_PATHS = {
    MailKind.RECOVERY: "/reset-password",
    MailKind.SIGN_IN: "/sign-in-link",
    MailKind.EMAIL_OLD: "/confirm-email",
    MailKind.EMAIL_NEW: "/confirm-email",
    MailKind.SIGN_UP: "/confirm-address",
    MailKind.INVITE: "/invitation",
    MailKind.TAKE_DOWN: "/report/link",
    MailKind.CASE_NEWS: "/report/link",
}
"""Of the pages that the links lead to."""

_CASE_LINK_LIFE_S = {MailKind.TAKE_DOWN: 2 * 86400, MailKind.CASE_NEWS: 30 * 86400}


_TOLD_FOR = timedelta(days=1)


def mask_email(email: str) -> str:
    """Return an address so that its owner knows it, and nobody else learns it: `l…@example.org`."""
    local, _, domain = email.rpartition("@")
    return f"{local[:1]}…@{domain}"


async def compose_mail(
    conn: Connection,
    kind: MailKind,
    recipient: str,
    profile_id: UUID | None,
    *,
    case_id: UUID | None = None,
    server_url: str,
    settings: AuthSettings,
    grace_days: int = 30,
    language: str | None = None,
) -> MailText | None:
    """Store a new one-time token and return the mail with its link; a warning has none.

    None when it is for nobody: no account has this address, or no change of it waits.
    """
    with speaking(language or ENGLISH):
        return await _compose(
            conn,
            kind,
            recipient,
            profile_id,
            case_id=case_id,
            server_url=server_url,
            settings=settings,
            grace_days=grace_days,
        )


async def _compose(
    conn: Connection,
    kind: MailKind,
    recipient: str,
    profile_id: UUID | None,
    *,
    case_id: UUID | None,
    server_url: str,
    settings: AuthSettings,
    grace_days: int,
) -> MailText | None:
    if kind is MailKind.IMPERSONATION:
        return await _tell_impersonations(conn, profile_id, server_url)
    if kind is MailKind.MEMBERSHIP:
        # The answer itself is on the page, for whoever can sign in.
        operator = await load_site_operator(conn)
        return write_mail(
            kind, server=server_url, operator=operator, link=f"{server_url}/profile/school"
        )
    if kind is MailKind.DIGEST:
        return await _tell_news(conn, profile_id, server_url)
    if kind in _CASE_LINK_LIFE_S:
        return await _compose_case_mail(conn, kind, case_id, server_url=server_url)
    if kind is MailKind.INACTIVE:
        until = datetime.now(UTC) + timedelta(days=grace_days)
        return write_mail(
            kind,
            server=server_url,
            operator=await load_site_operator(conn),
            until=as_day(until),
        )
    link_life_s = settings.invitation_s if kind is MailKind.INVITE else settings.mailed_link_s
    token = secrets.token_urlsafe(32)
    operator = await load_site_operator(conn)
    user_id = await accounts.create_one_time_token(
        conn,
        email=recipient,
        purpose=kind.value,
        token_sha256=accounts.hash_token(token),
        life_s=link_life_s,
        user_id=profile_id,
    )
    if user_id is None:
        if kind is MailKind.SIGN_UP and await accounts.find_credentials(conn, recipient):
            return write_mail(MailKind.ACCOUNT_EXISTS, server=server_url, operator=operator)
        return None
    change = await accounts.find_email_change(conn, accounts.hash_token(token))
    if change is None and kind in {MailKind.EMAIL_OLD, MailKind.EMAIL_NEW}:
        return None
    return write_mail(
        kind,
        server=server_url,
        operator=operator,
        link=f"{server_url}{_PATHS[kind]}?{urlencode({'token': token})}",
        old_email=mask_email(change.old_email) if change else "",
        new_email=change.new_email if change else "",
        expires_at=_describe_end(link_life_s),
    )


async def _tell_impersonations(
    conn: Connection, profile_id: UUID | None, server_url: str
) -> MailText | None:
    """Return the mail about what happened since a day ago; one mail may tell of several times."""
    assert profile_id is not None, "it is about an account"
    since = datetime.now(UTC) - _TOLD_FOR
    found = await list_impersonations(conn, profile_id)
    times = [{"at": as_minute(each.at), "reason": each.reason} for each in found if each.at > since]
    if not times:
        return None
    return write_mail(
        MailKind.IMPERSONATION,
        server=server_url,
        operator=await load_site_operator(conn),
        times=times,
    )


async def _tell_news(conn: Connection, profile_id: UUID | None, server_url: str) -> MailText | None:
    """Return the mail about what is new; None where all was seen, or mails are not wanted."""
    assert profile_id is not None, "it is about an account"
    digest = await notifications.read_digest(conn, profile_id)
    if digest is None or not digest.news:
        return None
    unsubscribe = f"{server_url}/notifications/unsubscribe?{urlencode({'token': digest.token})}"
    mail = write_mail(
        MailKind.DIGEST,
        server=server_url,
        operator=await load_site_operator(conn),
        news=digest.news,
        link=f"{server_url}/feed",
        unsubscribe=unsubscribe,
    )
    return replace(mail, unsubscribe=unsubscribe)


async def _compose_case_mail(
    conn: Connection, kind: MailKind, case_id: UUID | None, *, server_url: str
) -> MailText | None:
    operator = await load_site_operator(conn)
    if case_id is None:
        # Whoever has an account signs in to read it.
        link = f"{server_url}/reports"
        return write_mail(kind, server=server_url, operator=operator, link=link, expires_at="")
    token = secrets.token_urlsafe(32)
    life_s = _CASE_LINK_LIFE_S[kind]
    if not await cases.create_token(
        conn, case_id, accounts.hash_token(token), timedelta(seconds=life_s)
    ):
        return None
    return write_mail(
        kind,
        server=server_url,
        operator=operator,
        link=f"{server_url}{_PATHS[kind]}?{urlencode({'token': token})}",
        expires_at=_describe_end(life_s),
    )


def _describe_end(life_s: int) -> str:
    end = datetime.now(UTC) + timedelta(seconds=life_s)
    return as_minute(end)
