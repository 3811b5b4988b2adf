"""Who is told of news while no page is open: what is new, unseen, and not told yet."""

from __future__ import annotations

from datetime import timedelta
from uuid import uuid4

import psycopg
import pytest

from tests.sql.test_export import export
from tests.sql.test_likes import say_like
from tests.support import build
from tests.support.build import acting, one

KEYS = ("k" * 87, "a" * 22)
TAKE = (
    "select news, is_mutual, id, lease_token, position, liked_at"
    " from public.take_pushes(10, '5 minutes', '0 seconds')"
)


def subscribe(conn, person, endpoint="https://push.example/1", keys=KEYS):
    with acting(conn, person):
        conn.execute("select public.save_push_subscription(%s, %s, %s, 'en')", [endpoint, *keys])


def take(conn):
    return [row[:2] for row in conn.execute(TAKE)]


def tell(conn):
    """Tell all devices that are due; return of what."""
    told = conn.execute(TAKE).fetchall()
    for _, _, *push in told:
        finish(conn, push)
    return [row[:2] for row in told]


def finish(conn, push, quiet="0 seconds"):
    conn.execute("select public.finish_push(%s, %s, %s, %s, %s)", [*push, quiet])


@pytest.fixture
def pair(conn):
    """Give a woman and a man whose photos are not matched yet."""
    return build.a_pair(conn)


def meet(conn, number=1):
    """Have another man come who looks like her."""
    he = build.a_profile(conn, gender="male")
    build.a_match(conn, build.a_face(conn, he, build.like(build.unit(0), 0.8, seed=number)))


def test_device_is_told_once_of_a_match_that_came_after_it(conn, pair):
    she, _ = pair
    subscribe(conn, she[0])
    assert take(conn) == []

    build.a_match(conn, she[1])

    assert tell(conn) == [(1, False)]
    assert tell(conn) == []


def test_nobody_is_told_of_what_was_seen(conn, pair):
    she, _ = pair
    subscribe(conn, she[0])
    build.a_match(conn, she[1])
    with acting(conn, she[0]):
        conn.execute("select public.mark_matches_seen(array(select public.list_new_matches()))")

    assert tell(conn) == []


def test_nobody_is_told_of_people_they_do_not_see(conn, pair):
    she, he = pair
    subscribe(conn, she[0])
    build.a_match(conn, she[1])
    conn.execute("update public.profiles set discoverable = false where id = %s", [he[0]])

    assert tell(conn) == []


def test_news_of_a_quiet_time_come_together(conn, pair):
    she, _ = pair
    subscribe(conn, she[0])
    build.a_match(conn, she[1])
    [(_, _, *push)] = conn.execute(TAKE)
    finish(conn, push, "1 hour")

    meet(conn, 1)
    meet(conn, 2)
    assert tell(conn) == []
    conn.execute("update automatch.push_subscriptions set run_at = automatch.now()")

    assert tell(conn) == [(2, False)]


def look(conn, start, seconds):
    """Return what devices are to be told of, some seconds after a time."""
    build.set_clock(conn, start + timedelta(seconds=seconds))
    return conn.execute(
        "select news, is_mutual from public.take_pushes(10, '5 minutes')"
    ).fetchall()


@pytest.mark.parametrize("what", ["match", "like"])
def test_news_is_told_at_the_first_look_at_which_an_open_page_has_shown_it(conn, pair, what):
    she, he = pair
    start = one(conn, "select automatch.now()")
    build.a_match(conn, she[1])
    say_like(conn, she[0], he[0])
    if what == "match":
        conn.execute("delete from public.matches")
    look(conn, start, 60)
    subscribe(conn, she[0])
    if what == "match":
        build.a_match(conn, she[1])
    else:
        build.set_clock(conn, start + timedelta(seconds=61))
        say_like(conn, he[0], she[0])

    assert look(conn, start, 69) == []
    assert look(conn, start, 79) == []
    assert look(conn, start, 81) == [(1, what == "like")]


def test_only_the_last_taking_settles_anything(conn, pair):
    she, _ = pair
    subscribe(conn, she[0])
    build.a_match(conn, she[1])
    [(_, _, *first)] = conn.execute(TAKE)
    conn.execute("update automatch.push_subscriptions set run_at = automatch.now()")
    [(_, _, *second)] = conn.execute(TAKE)
    state = "select * from automatch.push_subscriptions"
    before = conn.execute(state).fetchall()

    finish(conn, first)
    for delay in ("1 hour", None):
        conn.execute("select public.postpone_push(%s, %s, %s)", [*first[:2], delay])
    assert conn.execute(state).fetchall() == before
    finish(conn, second)

    assert one(conn, "select told_position from automatch.push_subscriptions") == second[2]


@pytest.fixture
def liked(conn, pair):
    """Give the two, each with a device, and she likes him."""
    she, he = pair
    build.a_match(conn, she[1])
    subscribe(conn, she[0])
    subscribe(conn, he[0], "https://push.example/2")
    say_like(conn, she[0], he[0])
    assert tell(conn) == []
    return she[0], he[0]


def test_who_liked_first_is_told_that_both_do(conn, liked):
    she, he = liked
    say_like(conn, he, she)

    assert tell(conn) == [(1, True)]
    assert tell(conn) == []
    assert one(
        conn, "select seen_at is null from automatch.feed_entries where profile_id = %s", she
    )


def test_like_that_was_taken_back_is_told_as_what_it_was(conn, liked):
    she, he = liked
    say_like(conn, he, she)
    with acting(conn, he):
        conn.execute("select public.unlike_profile(%s)", [she])

    assert tell(conn) == [(1, True)]


def test_nobody_is_told_of_a_like_that_they_have_seen(conn, liked):
    she, he = liked
    say_like(conn, he, she)
    with acting(conn, she):
        conn.execute("select public.mark_matches_seen(array(select public.list_new_matches()))")

    assert tell(conn) == []


def test_like_that_comes_while_another_is_told_is_told_next(conn, liked):
    she, he = liked
    meet(conn)
    other = one(
        conn,
        "select other_profile_id from automatch.feed_entries"
        " where profile_id = %s and other_profile_id <> %s",
        she, he,
    )  # fmt: skip
    say_like(conn, she, other)
    say_like(conn, he, she)
    [(_, is_mutual, *push)] = conn.execute(TAKE)
    assert is_mutual
    say_like(conn, other, she)

    finish(conn, push)

    assert tell(conn) == [(1, True)]


def test_device_speaks_the_language_that_its_person_chooses_later(conn, pair):
    she, he = pair
    subscribe(conn, she[0])
    subscribe(conn, he[0], "https://push.example/2")
    speaks = "select language from automatch.push_subscriptions where profile_id = %s"
    for chosen in ("vi", None):
        with acting(conn, she[0]):
            conn.execute("select public.set_language(%s)", [chosen])

        assert one(conn, speaks, she[0]) == "vi"
    assert one(conn, speaks, he[0]) == "en"


def test_like_that_is_not_to_be_told_costs_no_attempt(conn, pair):
    she, he = pair
    build.a_match(conn, she[1])
    subscribe(conn, she[0])
    conn.execute("update automatch.push_subscriptions set told_at = told_at - interval '1 s'")
    say_like(conn, she[0], he[0])
    say_like(conn, he[0], she[0])
    conn.execute("update public.profiles set discoverable = false where id = %s", [he[0]])

    assert tell(conn) == []
    attempts = "select attempts from automatch.push_subscriptions where run_at <= automatch.now()"
    assert one(conn, attempts) == 0
    due = "select told_at from automatch.push_subscriptions"
    assert one(conn, due) == one(conn, "select told_at from automatch.likes limit 1")


def test_attempts_have_an_end(conn, pair):
    she, _ = pair
    subscribe(conn, she[0])
    build.a_match(conn, she[1])
    conn.execute("update automatch.push_subscriptions set attempts = 32767")

    assert take(conn) == [(1, False)]

    assert one(conn, "select attempts from automatch.push_subscriptions") == 100


def test_device_belongs_to_whoever_signed_in_on_it_last(conn, pair):
    she, he = pair
    subscribe(conn, she[0])
    subscribe(conn, he[0])

    assert one(conn, "select profile_id from automatch.push_subscriptions") == he[0]


def test_device_of_an_ended_session_is_forgotten(conn, pair):
    she, _ = pair
    subscribe(conn, she[0])
    conn.execute("update automatch.push_subscriptions set session_id = %s", [uuid4()])
    build.a_match(conn, she[1])

    assert tell(conn) == []
    assert one(conn, "select count(*) from automatch.push_subscriptions") == 0


@pytest.mark.parametrize("keys", [("K" * 87, KEYS[1]), (KEYS[0], "A" * 22)])
def test_device_is_taken_over_by_nobody_who_knows_only_its_address(conn, pair, keys):
    she, he = pair
    subscribe(conn, she[0])

    with pytest.raises(psycopg.Error, match="somebody else's"), conn.transaction():
        subscribe(conn, he[0], keys=keys)
    assert one(conn, "select profile_id from automatch.push_subscriptions") == she[0]
    subscribe(conn, she[0], keys=keys)

    assert one(conn, "select p256dh || auth from automatch.push_subscriptions") == "".join(keys)


def subscribe_from_elsewhere(conn, person):
    """Ask in a session that another server keeps."""
    with acting(conn, person, session=uuid4(), external=True):
        conn.execute("select public.save_push_subscription('https://a.b', %s, %s, 'en')", KEYS)


def clean_up(conn):
    ages = ", ".join(["'100 years'"] * 8)
    conn.execute(f"select public.delete_expired_rows({ages})")
    return one(conn, "select count(*) from automatch.push_subscriptions")


def test_device_of_a_session_that_nobody_here_knows_is_forgotten_unless_renewed(conn, pair):
    she, _ = pair
    subscribe_from_elsewhere(conn, she[0])
    build.a_match(conn, she[1])
    assert tell(conn) == [(1, False)]
    age = (
        "update automatch.push_subscriptions set renewed_at = automatch.now() - interval '31 days'"
    )

    conn.execute(age)
    subscribe_from_elsewhere(conn, she[0])
    assert clean_up(conn) == 1
    conn.execute(age)

    assert clean_up(conn) == 0


@pytest.mark.parametrize("endpoint", ["http://push.example/1", "https://" + "x" * 1000])
def test_endpoint_is_short_and_https(conn, pair, endpoint):
    with pytest.raises(psycopg.errors.CheckViolation):
        subscribe(conn, pair[0][0], endpoint)


def test_ten_devices_are_kept(conn, pair):
    for number in range(12):
        subscribe(conn, pair[0][0], f"https://push.example/{number}")

    assert one(conn, "select count(*) from automatch.push_subscriptions") == 10


def digest(conn, person, every):
    with acting(conn, person):
        conn.execute("select public.set_digest(%s)", [every])
        return one(conn, "select public.get_digest()")


def send_digests(conn):
    conn.execute("update automatch.digests set due_at = automatch.now()")
    conn.execute("delete from automatch.mails")
    conn.execute("select public.enqueue_digests()")
    return one(conn, "select count(*) from automatch.mails where kind = 'digest'")


def test_mail_tells_what_is_new_and_unseen_and_never_twice(conn, pair):
    she, _ = pair
    conn.execute("update public.profiles set email = 'her@example.org' where id = %s", [she[0]])
    assert digest(conn, she[0], "daily") == "daily"
    assert send_digests(conn) == 0

    build.a_match(conn, she[1])

    assert send_digests(conn) == 1
    assert send_digests(conn) == 0
    assert one(conn, "select news from public.read_digest(%s)", she[0]) == 1


def test_token_of_a_mail_ends_them_and_another_ends_nothing(conn, pair):
    she, _ = pair
    digest(conn, she[0], "weekly")
    conn.execute("select public.end_digest(%s)", [uuid4()])
    assert one(conn, "select count(*) from automatch.digests") == 1

    conn.execute("select public.end_digest(token) from automatch.digests")

    assert one(conn, "select count(*) from automatch.digests") == 0


def test_export_names_the_push_service_and_not_the_address(conn, pair):
    she, _ = pair
    subscribe(conn, she[0])

    [device] = export(conn, she[0])["devices_told"]
    assert device["push_service"] == "push.example"
    assert "https" not in str(device)
