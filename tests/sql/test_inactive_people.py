"""People who were not here for long: who is warned, who is erased, and what stops it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from tests.support import build
from tests.support.build import one

NOW = datetime(2027, 12, 1, 12, tzinfo=UTC)
DAY = timedelta(days=1)


@pytest.fixture
def asleep(conn):
    """Give somebody whose last visit was a year and a day ago."""
    build.set_clock(conn, NOW - 366 * DAY)
    person = one(conn, "select auth.create_user('she@uit.example', 'x', '{}')")
    conn.execute("select auth.start_session(%s, 'token')", [person])
    build.set_clock(conn, NOW)
    return person


def warn(conn, *, mails=True, without_mail=False):
    return one(conn, "select public.warn_inactive_people('365 days', %s, %s)", mails, without_mail)


def due(conn, *, without_mail=False):
    rows = conn.execute(
        "select * from public.list_people_to_erase('365 days', '30 days', %s)", [without_mail]
    )
    return [person for (person,) in rows.fetchall()]


def send_mails(conn):
    while mail := conn.execute("select id, kind, attempts from public.take_mail('1m')").fetchone():
        conn.execute("select public.finish_mail(%s, %s)", [mail[0], mail[2]])
        yield mail[1]


def test_somebody_who_is_warned_and_does_not_come_is_erased_a_month_after_the_mail(conn, asleep):
    assert [warn(conn), warn(conn)] == [1, 0]
    build.set_clock(conn, NOW + 3 * DAY)
    assert list(send_mails(conn)) == ["inactive"]
    build.set_clock(conn, NOW + 32 * DAY)
    assert due(conn) == []
    build.set_clock(conn, NOW + 34 * DAY)

    assert due(conn) == [asleep]


def test_any_visit_ends_it_and_a_session_that_is_gone_is_remembered(conn, asleep):
    warn(conn)
    list(send_mails(conn))
    build.set_clock(conn, NOW + 20 * DAY)
    conn.execute("update auth.sessions set refreshed_at = automatch.now()")
    assert warn(conn) == 0
    conn.execute("delete from auth.sessions")
    build.set_clock(conn, NOW + 60 * DAY)

    assert (warn(conn), due(conn)) == (0, [])
    assert one(conn, "select count(*) from automatch.inactivity_warnings") == 0


def test_without_a_mail_nobody_is_erased_unless_the_operator_wants_it(conn, asleep):
    assert warn(conn, mails=False) == 0
    assert warn(conn) == 1
    build.set_clock(conn, NOW + 60 * DAY)
    assert due(conn) == [], "the mail was not sent"
    assert warn(conn) == 1, "it is sent once more"
    assert warn(conn, mails=False, without_mail=True) == 0
    build.set_clock(conn, NOW + 100 * DAY)

    assert due(conn, without_mail=True) == [asleep]


def test_people_who_are_new_simulated_or_sign_in_elsewhere_are_left_alone(conn, asleep):
    conn.execute("update public.profiles set simulated = true where id = %s", [asleep])
    conn.execute("select auth.create_user('new@uit.example', 'x', '{}')")
    build.a_profile(conn)

    assert warn(conn, without_mail=True) == 0
