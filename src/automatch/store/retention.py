"""Rows that are kept for a time only: sessions, tokens, mails, and records of what was done."""

from __future__ import annotations

from datetime import timedelta

from automatch.store.call import call_value
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
