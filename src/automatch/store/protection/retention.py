"""Rows that are kept for a time only: sessions, tokens, mails, and records of what was done."""

from __future__ import annotations

from datetime import timedelta
from uuid import UUID

from automatch.store.call import call_value, call_values
from automatch.store.database import Connection


async def delete_expired_rows(
    conn: Connection,
    *,
    sessions_s: float,
    audit_log_days: int,
    cron_runs_days: int,
    net_responses_s: float,
    mails_s: float,
    photo_views_days: int,
    cases_days: int,
    case_texts_days: int,
) -> int:
    """Delete what is older than this, some thousand rows of each table; return how many."""
    count = await call_value(
        conn,
        "delete_expired_rows",
        sessions=timedelta(seconds=sessions_s),
        audit_log=timedelta(days=audit_log_days),
        cron_runs=timedelta(days=cron_runs_days),
        net_responses=timedelta(seconds=net_responses_s),
        mails=timedelta(seconds=mails_s),
        photo_views=timedelta(days=photo_views_days),
        cases=timedelta(days=cases_days),
        case_texts=timedelta(days=case_texts_days),
    )
    return int(count)


async def warn_inactive_people(
    conn: Connection, inactive_days: int, *, mails: bool, without_mail: bool
) -> int:
    """Warn some people who were not here for so long, by mail if there is *mails*.

    With *without_mail* those whom no mail can reach count as warned. Returns how many.
    """
    count = await call_value(
        conn,
        "warn_inactive_people",
        inactive=timedelta(days=inactive_days),
        mails=mails,
        without_mail=without_mail,
    )
    return int(count)


async def list_people_to_erase(
    conn: Connection, inactive_days: int, grace_days: int, *, without_mail: bool
) -> list[UUID]:
    """Return some who were warned that long ago and have not come since."""
    return await call_values(
        conn,
        "list_people_to_erase",
        inactive=timedelta(days=inactive_days),
        grace=timedelta(days=grace_days),
        without_mail=without_mail,
    )


async def delete_old_matches(conn: Connection, days: int) -> int:
    """Delete some matches that are older than that, from both feeds; return how many."""
    return int(await call_value(conn, "delete_old_matches", age=timedelta(days=days)))
