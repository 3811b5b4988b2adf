"""What follows when it changes who may match whom: both feeds at once, and another search."""

from __future__ import annotations

from uuid import UUID, uuid4

import pytest

from tests.support import build
from tests.support.build import acting, like, one, refused

CENTER = build.unit(0)


def news(conn, person, after):
    """Return {other: whether the card is there} of what changed after a position."""
    with acting(conn, person):
        rows = conn.execute(
            "select profile_id, match_id is not null from public.feed_page(null, %s, 100)", [after]
        ).fetchall()
    return dict(rows)


def position(conn, person):
    with acting(conn, person):
        return one(conn, "select public.feed_position()")


def feed(conn, person):
    with acting(conn, person):
        return [row[0] for row in conn.execute("select profile_id from public.feed_page()")]


def open_jobs(conn, person):
    return conn.execute(
        "select status, priority, school from public.match_jobs"
        " where user_id = %s and status in ('pending', 'processing')",
        [person],
    ).fetchall()


def change(conn, person, what):
    conn.execute(f"update public.profiles set {what} where id = %s", [person])


@pytest.fixture
def matched(conn):
    """Give (profile, face) of a woman and a man who are matched."""
    she, he = build.a_pair(conn)
    build.a_match(conn, she[1])
    return she, he


BACK = "school = 'UIT', gender = 'male', discoverable = true, profile_type = 'user'"


@pytest.mark.parametrize(
    ("what", "he_sees_her"),
    [
        ("school = 'HCMUS'", False),
        ("gender = 'female'", False),
        ("school = null", False),
        ("gender = null, discoverable = false", False),
        # Who pauses is not seen, and still sees.
        ("discoverable = false", True),
        ("profile_type = 'celebrity'", True),
    ],
)
def test_card_goes_from_open_pages_in_the_moment_of_the_change_and_comes_back(
    conn, matched, what, he_sees_her
):
    (she, _), (he, _) = matched
    hers, his = position(conn, she), position(conn, he)
    change(conn, he, what)
    assert news(conn, she, hers) == {he: False}
    assert news(conn, he, his) == ({} if he_sees_her else {she: False})
    assert feed(conn, he) == ([she] if he_sees_her else [])

    hers, his = position(conn, she), position(conn, he)
    change(conn, he, BACK)
    assert news(conn, she, hers) == {he: True}
    assert news(conn, he, his) == ({} if he_sees_her else {she: True})
    assert (feed(conn, she), feed(conn, he)) == ([he], [she])


def test_change_that_shows_and_hides_nobody_moves_no_feed_and_searches_nothing(conn, matched):
    (she, _), (he, _) = matched
    before = position(conn, she), position(conn, he)
    change(conn, he, "name = 'Other', school = 'UIT', gender = 'male'")

    assert (position(conn, she), position(conn, he)) == before
    assert open_jobs(conn, he) == []


def test_who_is_hidden_for_another_reason_is_not_told_of_a_change(conn, matched):
    (she, _), (he, _) = matched
    with acting(conn, she):
        conn.execute("select public.block_profile(%s)", [he])
    hers, his = position(conn, she), position(conn, he)
    for what in ("school = 'HCMUS'", BACK, "discoverable = false", BACK):
        change(conn, he, what)

    assert (news(conn, she, hers), news(conn, he, his)) == ({}, {})


def test_who_moves_to_another_school_is_parted_from_the_one_and_searched_for_in_the_other(conn):
    he = build.a_profile(conn, gender="male")
    build.a_face(conn, he, CENTER)
    there, here = build.a_profile(conn, school="HCMUS"), build.a_profile(conn)
    for seed, person in enumerate((there, here)):
        build.a_face(conn, person, like(CENTER, 0.8, seed=seed))
    build.a_match(conn, one(conn, "select id from faces where profile_id = %s", he))
    assert feed(conn, he) == [here]
    conn.execute("update public.profiles set school = 'HCMUS' where id = %s", [he])
    assert open_jobs(conn, he) == [("pending", 3, "HCMUS")]
    build.complete(conn, *build.claim(conn))

    assert (feed(conn, he), feed(conn, there), feed(conn, here)) == ([there], [he], [])


@pytest.mark.parametrize(
    ("what", "again"),
    [
        ("gender = 'female'", True),
        ("discoverable = false", False),
        ("school = null", False),
        ("name = 'Other'", False),
    ],
)
def test_only_a_change_that_may_find_others_searches_again(conn, matched, what, again):
    he = matched[1][0]
    change(conn, he, what)

    assert bool(open_jobs(conn, he)) == again


def test_who_wants_to_be_found_again_is_searched_for(conn, matched):
    he = matched[1][0]
    change(conn, he, "discoverable = false")
    newcomer = build.a_profile(conn)
    build.a_match(conn, build.a_face(conn, newcomer, CENTER))
    change(conn, he, "discoverable = true")
    build.complete(conn, *build.claim(conn))

    assert set(feed(conn, he)) == {matched[0][0], newcomer}


def test_photo_that_nobody_has_seen_and_simulated_people_are_not_queued(conn):
    person, simulated = build.a_profile(conn), build.a_profile(conn)
    conn.execute("update public.profiles set simulated = true where id = %s", [simulated])
    build.a_face(conn, person)
    build.a_face(conn, simulated, CENTER)
    for who in (person, simulated):
        change(conn, who, "school = 'HCMUS'")

    assert one(conn, "select count(*) from public.match_jobs") == 0


def test_who_changes_their_mind_all_day_queues_each_photo_once(conn, matched):
    he = matched[1][0]
    for school in ("A", "B", "C", "UIT"):
        change(conn, he, f"school = '{school}'")

    assert [row[:2] for row in open_jobs(conn, he)] == [("pending", 3)]


def test_job_of_a_paused_school_that_starts_over_waits_with_the_others(conn, matched):
    (_, _), (he, his_face) = matched
    build.a_job(conn, his_face)
    build.claim(conn)
    conn.execute("select public.pause_match_jobs('UIT')")
    change(conn, he, "gender = 'female'")
    assert build.claim_some(conn, 5) == []

    conn.execute("select public.resume_match_jobs('UIT')")
    assert len(build.claim_some(conn, 5)) == 1


def test_consent_that_is_given_back_has_no_photo_left_to_search_for(conn, matched):
    he = matched[1][0]
    build.record_consent(conn, he, "withdrawn")
    build.record_consent(conn, he, "granted")

    assert one(conn, "select count(*) from public.faces where profile_id = %s", he) == 0
    assert open_jobs(conn, he) == []


def test_upload_goes_before_a_search_that_nobody_waits_for(conn, matched):
    he = matched[1][0]
    change(conn, he, "school = 'HCMUS'")
    person = build.a_profile(conn, school="HCMUS")
    upload = build.a_job(conn, build.a_face(conn, person, CENTER))

    assert build.claim(conn)[0] == upload


def test_search_that_was_under_way_when_the_person_moved_writes_nothing_and_is_done_anew(conn):
    """The worker searched before the move, and would finish after it: nobody else would search."""
    (she, her_face), (he, _) = build.a_pair(conn)
    there = build.a_profile(conn, gender="male", school="HCMUS")
    build.a_face(conn, there, like(CENTER, 0.8, seed=3))
    build.a_job(conn, her_face)
    job, token = build.claim(conn)
    found = one(conn, "select automatch.search_for_jobs(%s, %s)::text", [job], [token])
    assert str(he) in found
    change(conn, she, "school = 'HCMUS'")
    finished = conn.execute(
        "select * from automatch.complete_jobs(%s, %s, %s::automatch.found_face[], now())",
        [[job], [token], found],
    ).fetchall()
    assert (finished, one(conn, "select count(*) from public.matches")) == ([], 0)
    assert conn.execute(
        "select status, attempts from public.match_jobs where id = %s", [job]
    ).fetchone() == ("pending", 0)

    again, token = build.claim(conn)
    assert again == job
    assert build.complete(conn, again, token) == 1
    assert feed(conn, she) == [there]


def test_job_of_a_photo_that_is_being_looked_at_goes_on(conn):
    person = build.a_profile(conn)
    build.a_job(conn, build.a_face(conn, person))
    job, token = build.claim(conn)
    change(conn, person, "school = 'HCMUS'")
    kept = one(
        conn,
        "select count(*) = 1 from public.store_face_embeddings("
        "array[%s]::uuid[], array[%s]::bigint[], array[%s]::extensions.vector[], 'dlib',"
        " array['{}']::jsonb[], array['{}']::jsonb[])",
        *(job, token, CENTER),
    )

    assert kept is True
    assert build.complete(conn, job, token) == 0


def hide(conn, says, other, how):
    with acting(conn, says):
        if how == "block":
            conn.execute("select public.block_profile(%s)", [other])
        else:
            conn.execute("select public.dismiss_match((select id from public.matches))")


def show_again(conn, says, other, how):
    name = "unblock_profile" if how == "block" else "undo_dismissal"
    for table in ("profile_blocks", "match_dismissals"):
        conn.execute(f"update public.{table} set created_at = created_at - interval '1 minute'")
    with acting(conn, says):
        conn.execute(f"select public.{name}(%s)", [other])


@pytest.mark.parametrize("how", ["block", "dismiss"])
def test_who_is_no_longer_hidden_comes_back_to_both_and_new_photos_are_compared(conn, matched, how):
    (she, _), (he, _) = matched
    hide(conn, she, he, how)
    closer = build.a_face(conn, he, like(CENTER, 0.95))
    build.a_match(conn, closer)
    hers, his = position(conn, she), position(conn, he)
    show_again(conn, she, he, how)
    assert (news(conn, she, hers), news(conn, he, his)) == ({he: True}, {she: True})

    # His page must not show that she did something: her photo alone is searched for.
    assert (len(open_jobs(conn, she)), open_jobs(conn, he)) == (1, [])
    build.complete(conn, *build.claim(conn))
    with acting(conn, she):
        assert one(conn, "select face_id from public.feed_page()") == closer


@pytest.mark.parametrize("how", ["block", "dismiss"])
def test_whoever_is_hidden_by_the_other_too_stays_hidden(conn, matched, how):
    (she, _), (he, _) = matched
    hide(conn, she, he, how)
    conn.execute("insert into public.profile_blocks values (%s, %s)", [he, she])
    show_again(conn, she, he, how)
    build.complete(conn, *build.claim(conn))

    assert (feed(conn, she), feed(conn, he)) == ([], [])


@pytest.mark.parametrize("how", ["block", "dismiss"])
def test_only_ones_own_no_can_be_taken_back(conn, matched, how):
    (she, _), (he, _) = matched
    hide(conn, she, he, how)
    for says, other in ((he, she), (she, uuid4()), (build.a_profile(conn), he)):
        with refused("not_found"):
            show_again(conn, says, other, how)

    assert feed(conn, she) == []


def test_hidden_people_are_listed_to_whom_hid_them_and_to_nobody_else(conn, matched):
    (she, _), (he, _) = matched
    hide(conn, she, he, "dismiss")
    hide(conn, she, he, "block")
    columns = "select profile_id, name, is_blocked, is_dismissed from public.list_hidden_profiles()"
    with acting(conn, she):
        assert conn.execute(columns).fetchall() == [(he, "Person", True, True)]
    with acting(conn, he):
        assert conn.execute(columns).fetchall() == []

    # To hide somebody is no way to follow them.
    change(conn, he, "discoverable = false, name = 'Renamed'")
    with acting(conn, she):
        assert conn.execute(columns).fetchall() == [(he, None, True, True)]


def test_two_who_move_to_one_school_at_once_see_each_other_there(sessions):
    first, second, watcher = sessions.first, sessions.second, sessions.watcher
    she, he = build.a_pair(first)
    build.a_match(first, she[1])
    first.commit()
    before = {person: position(first, person) for person in (she[0], he[0])}
    first.commit()
    change(first, she[0], "school = 'HCMUS'")
    moving = sessions.submit(change, second, he[0], "school = 'HCMUS'")
    first.commit()
    moving.result()
    second.commit()

    with watcher.transaction():
        assert news(watcher, she[0], before[she[0]]) == {he[0]: True}
        assert news(watcher, he[0], before[he[0]]) == {she[0]: True}


def test_match_that_is_written_while_a_person_moves_is_gone_from_both_feeds(sessions):
    first, second, watcher = sessions.first, sessions.second, sessions.watcher
    she, he = build.a_pair(first)
    build.a_job(first, she[1])
    job = build.claim(first)
    first.commit()
    assert build.complete(first, *job) == 1
    moving = sessions.submit(change, second, he[0], "school = 'HCMUS'")
    first.commit()
    moving.result()
    second.commit()

    with watcher.transaction():
        assert news(watcher, she[0], 1) == {he[0]: False}
        assert news(watcher, he[0], 1) == {she[0]: False}


def test_who_unblocks_while_the_other_leaves_waits_and_is_told_there_is_nobody(sessions):
    first, second = sessions.first, sessions.second
    she, he = build.a_pair(first)
    build.a_match(first, she[1])
    hide(first, she[0], he[0], "block")
    first.commit()
    first.execute("delete from public.profiles where id = %s", [he[0]])
    unblocking = sessions.submit(show_again, second, she[0], he[0], "block")
    first.commit()

    with refused("not_found"):
        unblocking.result()


def test_open_jobs_are_locked_in_their_order_and_not_in_that_of_the_photos(sessions):
    first, second = sessions.first, sessions.second
    person = build.a_profile(first)
    faces = [build.a_face(first, person, CENTER, face_id=UUID(int=n)) for n in (1, 2)]
    for face, job in zip(faces, (UUID(int=9), UUID(int=8)), strict=True):
        build.a_job(first, face, id=job)
    first.commit()
    lock = "select from public.match_jobs where id = %s for update nowait"
    first.execute(lock, [UUID(int=8)])
    searching = sessions.submit(one, second, "select automatch.enqueue_searches(%s)", faces)

    # A worker that ends both goes on to the second job; it must not find that one locked.
    first.execute(lock, [UUID(int=9)])
    first.commit()
    assert searching.result() == 2


@pytest.mark.parametrize(
    "again",
    [
        "select public.undo_dismissal(%(him)s)",
        "select public.unblock_profile(%(him)s)",
        "select public.decide_suspected_duplicate(id, 'dismissed')"
        " from automatch.suspected_duplicates",
        "select public.retry_failed_match_jobs()",
    ],
)
def test_only_one_at_a_time_searches_again_for_a_person(sessions, again):
    first, second = sessions.first, sessions.second
    she, he = (build.a_profile(first, gender=gender) for gender in ("female", "male"))
    build.a_job(first, build.a_face(first, she))
    job, token = build.claim(first)
    first.execute(
        "select from public.fail_match_jobs(array[%s], array[%s]::bigint[], '{x}', '{x}')",
        [job, token],
    )
    first.execute(
        "with a as (insert into public.match_dismissals values (%(she)s, %(he)s)),"
        " b as (insert into public.profile_blocks values (%(she)s, %(he)s))"
        " insert into automatch.suspected_duplicates (profile_a_id, profile_b_id, u, model)"
        " values (least(%(she)s, %(he)s), greatest(%(she)s, %(he)s), 0.1, 'dlib')",
        {"she": she, "he": he},
    )
    first.execute("select public.set_match_threshold(0.4, true)")
    first.commit()
    with acting(first, she, role="authenticated" if "him" in again else "service_role"):
        first.execute(again, {"him": he})

    # In turn, each could wait for a job that the other has queued.
    rerunning = sessions.submit(one, second, "select public.enqueue_reruns()")
    first.commit()
    assert rerunning.result() == 1


def test_job_that_somebody_queues_meanwhile_is_not_locked_out_of_order(sessions):
    first, second, third = sessions.first, sessions.second, sessions.third
    faces = [
        build.a_face(first, build.a_profile(first), CENTER, face_id=UUID(int=n)) for n in (1, 2)
    ]
    first.commit()
    build.a_job(first, faces[0])
    searching = sessions.submit(one, second, "select automatch.enqueue_searches(%s)", faces)
    job = build.a_job(third, faces[1])
    third.commit()
    first.commit()
    searching.result()

    # A worker may hold it, and wait for one that was locked in order.
    assert one(third, "select id from public.match_jobs where id = %s for update nowait", job)
