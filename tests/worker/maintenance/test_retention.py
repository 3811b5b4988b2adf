"""Rows that are kept for a time only, and go when it is over."""

from __future__ import annotations

from datetime import timedelta

import pytest

from tests.support.build import connect, one

pytestmark = pytest.mark.anyio


async def test_who_did_something_is_forgotten_once_it_does_not_count_any_more(
    database, maintenance
):
    add = "insert into automatch.rate_limits values (%s, automatch.now() + %s)"
    with connect(database.owner) as conn:
        conn.execute(add, [b"over", timedelta(seconds=-1)])
        conn.execute(add, [b"counts", timedelta(hours=1)])
        conn.commit()
        await maintenance.retention.clean_up_rate_limits()

        assert one(conn, "select array_agg(key) from automatch.rate_limits") == [b"counts"]


async def test_rows_are_deleted_once_they_are_older_than_the_settings_say(database, maintenance):
    with connect(database.owner, autocommit=True) as conn:
        user = one(conn, "select auth.create_user('linh@example.org', 'x', '{}')")
        for age in (-1, 1):
            more = {"age": timedelta(minutes=age), "name": str(age), "user": user}
            for add in (
                "automatch.audit_log (recorded_at, actor, action)"
                " values (now() - interval '730 days' - %(age)s, %(name)s, 'x')",
                "cron.job_run_details (start_time, command, username)"
                " values (now() - interval '7 days' - %(age)s, %(name)s, current_user)",
                "net._http_response (created, content)"
                " values (now() - interval '6 hours' - %(age)s, %(name)s)",
                "auth.sessions (refreshed_at, id, user_id)"
                " values (now() - interval '30 days' - %(age)s, md5(%(name)s)::uuid, %(user)s)",
                "auth.refresh_tokens (token_sha256, session_id)"
                " values (%(name)s::bytea, md5(%(name)s)::uuid)",
                "auth.refresh_tokens (used_at, token_sha256, session_id)"
                " values (now() - interval '7 days' - %(age)s, ('used ' || %(name)s)::bytea,"
                " md5('-1')::uuid)",
                "auth.one_time_tokens (expires_at, token_sha256, user_id, purpose)"
                " values (now() - %(age)s, %(name)s::bytea, %(user)s, 'recovery')",
                "automatch.mails (requested_at, kind, recipient)"
                " values (now() - interval '1 day' - %(age)s, 'recovery', %(name)s)",
            ):
                conn.execute(f"insert into {add}", more)

        await maintenance.retention.delete_expired_rows()

        kept = {
            "select array_agg(actor) from automatch.audit_log": ["-1"],
            "select array_agg(command) from cron.job_run_details": ["-1"],
            "select array_agg(content) from net._http_response": ["-1"],
            "select array_agg(token_sha256) from auth.one_time_tokens": [b"-1"],
            "select array_agg(recipient) from automatch.mails": ["-1"],
            "select array_agg(id = md5('-1')::uuid) from auth.sessions": [True],
            "select array_agg(token_sha256 order by used_at) from auth.refresh_tokens": [
                b"used -1",
                b"-1",
            ],
        }
        for query, expected in kept.items():
            assert one(conn, query) == expected, query
