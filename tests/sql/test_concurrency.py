"""Many at once: nobody waits in a circle, and what must be true is true afterwards."""

from __future__ import annotations

import random
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from uuid import uuid4

import psycopg
import pytest

from tests.support import build
from tests.support.build import acting, connect, like, one, refused
from tests.support.forbidden_states import find_forbidden_states

CENTER = build.unit(0)
EXPECTED = {"consent_required", "not_found", "profile_not_found", "embedding_invalid"}
"""Refusals that are right when somebody else was quicker."""


def call(conn, query, *parameters, person=None):
    if person is None:
        value = one(conn, query, *parameters)
    else:
        with acting(conn, person):
            value = one(conn, query, *parameters)
    conn.commit()
    return value


def withdraw(conn, person):
    call(conn, "select public.record_consent(false)", person=person)


def test_dismissing_somebody_who_is_being_erased_finds_nobody(sessions):
    first, second = sessions.first, sessions.second
    (she, her_face), (he, _) = build.a_pair(first)
    build.a_match(first, her_face)
    match = one(first, "select id from public.matches")
    first.commit()
    first.execute("delete from public.profiles where id = %s", [he])
    dismiss = partial(call, person=she)
    dismissing = sessions.submit(dismiss, second, "select public.dismiss_match(%s)", match)
    first.commit()

    with refused("not_found"):
        dismissing.result()


@pytest.mark.parametrize("gone", ["uploader", "photo", "reader"])
def test_delivery_of_what_is_being_erased_is_forgotten(sessions, gone):
    first, second = sessions.first, sessions.second
    (she, her_face), (he, _) = build.a_pair(first)
    build.a_match(first, her_face)
    match = one(first, "select id from public.matches")
    first.commit()
    erase = {
        "uploader": ("delete from public.profiles where id = %s", she),
        "photo": ("delete from public.faces where id = %s", her_face),
        "reader": ("delete from public.profiles where id = %s", he),
    }
    first.execute(erase[gone][0], [erase[gone][1]])
    record = "select public.record_deliveries(array[%s]::uuid[], array[%s]::uuid[], '{1}', '{60}')"
    recording = sessions.submit(call, second, record, he, match)
    first.commit()

    recording.result()
    assert one(sessions.watcher, "select count(*) from automatch.deliveries") == 0


def test_signing_out_and_refreshing_at_once_do_not_wait_for_each_other(sessions):
    first, second, third = sessions.first, sessions.second, sessions.third
    person = one(first, "select auth.create_user('she@uit', 'x', '{}')")
    session = one(first, "select auth.start_session(%s, 'old')", person)
    first.commit()
    first.execute("select from auth.sessions for update")
    leaving = sessions.submit(call, second, "select auth.end_sessions(%s, 'local')", session)
    refresh = "select auth.rotate_refresh_token('old', 'new', '10 s', '1 day')"
    refreshing = sessions.submit(call, third, refresh)
    first.commit()
    leaving.result()

    assert refreshing.result() is None
    assert one(first, "select count(*) from auth.refresh_tokens") == 0


def test_erasing_somebody_whose_feed_grows_meanwhile_tells_the_newcomer(sessions):
    first, second, third = sessions.first, sessions.second, sessions.third
    pair = build.a_pair(first)
    build.a_job(first, pair[0][1])
    job, token = build.claim(first)
    first.commit()
    newcomer, leaving = sorted(person for person, _ in pair)
    assert build.complete(first, job, token) == 1
    withdrawing = sessions.submit(withdraw, second, leaving)
    # Has the newcomer's feed as soon as it is free, and then wants the other one.
    lock = "select automatch.lock_feeds(%s)"
    locking = sessions.submit(call, third, lock, [leaving, newcomer])
    first.commit()
    for waiting in (locking, withdrawing):
        waiting.result()

    with acting(first, newcomer):
        news = first.execute("select position, match_id from public.feed_page(null, 0)").fetchall()
    assert news == [(2, None)]


def test_withdrawing_while_a_job_ends_waits_for_it_and_not_it_for_the_withdrawal(sessions):
    first, second, third = sessions.first, sessions.second, sessions.third
    (she, her_face), (_, his_face) = build.a_pair(first)
    build.a_job(first, her_face)
    job, token = build.claim(first)
    first.commit()
    # Stops the job where it has the feeds and writes the match.
    first.execute("select from public.faces where id = %s for update", [his_face])
    complete = (
        "select match_count from public.complete_match_jobs(array[%s]::uuid[], array[%s]::bigint[])"
    )
    completing = sessions.submit(call, second, complete, job, token)
    withdrawing = sessions.submit(withdraw, third, she)
    first.commit()
    withdrawing.result()

    assert completing.result() == 1
    assert one(first, "select count(*) from public.matches") == 0


def test_two_who_look_alike_withdraw_at_once(sessions):
    first, second, third = sessions.first, sessions.second, sessions.third
    (she, her_face), (he, _) = build.a_pair(first)
    for face in [her_face, *(build.a_face(first, she, build.unit(0)) for _ in range(7))]:
        build.a_match(first, face)
    first.commit()
    # Stops the one where she has the feeds, which then change once for each of her photos.
    first.execute("select from public.faces where profile_id = %s for update", [she])
    hers = sessions.submit(withdraw, second, she)
    his = sessions.submit(withdraw, third, he)
    first.commit()
    for withdrawing in (hers, his):
        withdrawing.result()

    assert one(first, "select count(*) from public.faces") == 0


def test_jobs_of_a_batch_are_locked_in_one_order(sessions):
    first, second, watcher = sessions.first, sessions.second, sessions.watcher
    for _ in range(8):
        build.a_job(first, build.a_face(first, build.a_profile(first)))
    jobs = sorted(build.claim_some(first, 8), reverse=True)
    first.commit()
    first.execute("select from public.match_jobs where id = %s for update", [jobs[-1][0]])
    ids, tokens = map(list, zip(*jobs, strict=True))
    moving = sessions.submit(call, second, "select public.release_match_jobs(%s, %s)", ids, tokens)
    free = watcher.execute("select id from public.match_jobs for update skip locked").fetchall()
    first.commit()
    moving.result()

    assert len(free) == 7


def test_renewal_waits_for_nobody_and_takes_no_job_for_lost_that_is_being_settled(sessions):
    first, second = sessions.first, sessions.second
    for _ in range(3):
        build.a_job(first, build.a_face(first, build.a_profile(first)))
    jobs = build.claim_some(first, 3)
    ids, tokens = map(list, zip(*jobs, strict=True))
    first.commit()
    first.execute("select from public.match_jobs where id = %s for update", [ids[1]])
    second.execute("set lock_timeout = '1ms'")
    held = second.execute("select public.renew_match_leases(%s, %s, '1 hour')", [ids, tokens])
    renewed = second.execute(
        "select id from public.match_jobs where lease_expires_at > now() + interval '1 minute'"
    )

    assert {job for (job,) in held.fetchall()} == set(ids)
    assert {job for (job,) in renewed.fetchall()} == {ids[0], ids[2]}


def test_job_that_is_queued_while_its_school_is_paused_waits_with_the_others(sessions):
    first, second = sessions.first, sessions.second
    faces = [build.a_face(first, build.a_profile(first)) for _ in range(2)]
    first.commit()
    build.a_job(first, faces[0])
    pausing = sessions.submit(call, second, "select public.pause_match_jobs('UIT')")
    first.commit()

    assert pausing.result() == 1
    assert build.claim_some(first, 5) == []


def test_job_that_is_queued_while_its_school_goes_on_is_not_left_behind(sessions):
    first, second = sessions.first, sessions.second
    person = build.a_profile(first)
    call(first, "select public.pause_match_jobs('UIT')")
    job = build.a_job(first, build.a_face(first, person))
    resuming = sessions.submit(call, second, "select public.resume_match_jobs('UIT')")
    first.commit()

    assert resuming.result() == 1
    assert [job for job, _ in build.claim_some(first, 5)] == [job]


def test_retry_of_a_photo_that_is_queued_this_moment_leaves_the_new_job_alone(sessions):
    first, second = sessions.first, sessions.second
    face = build.a_face(first, build.a_profile(first))
    build.a_job(first, face)
    job, token = build.claim(first)
    call(
        first,
        "select count(*) = 1 from public.fail_match_jobs(array[%s]::uuid[],"
        " array[%s]::bigint[], array['no_face'], array['No face.'])",
        job,
        token,
    )
    build.a_job(first, face)
    retrying = sessions.submit(call, second, "select public.retry_failed_match_jobs()")
    first.commit()

    assert retrying.result() == 0


def test_two_claims_of_a_worker_do_not_both_take_the_room_that_an_operator_left(sessions):
    first, second = sessions.first, sessions.second
    for _ in range(4):
        build.a_job(first, build.a_face(first, build.a_profile(first)))
    call(first, "select public.set_match_concurrency(3)")
    query = "select count(*) from public.claim_match_jobs(%s, 2, '30 s')"
    worker = uuid4()
    assert one(first, query, worker) == 2
    claiming = sessions.submit(call, second, query, worker)
    first.commit()

    assert claiming.result() == 1


def test_claim_does_not_set_the_virtual_time_back_that_another_has_moved_on(sessions):
    first, second = sessions.first, sessions.second
    build.a_job(first, build.a_face(first, build.a_profile(first)))
    first.commit()
    first.execute("select pg_advisory_xact_lock(automatch.lock_key('virtual_time'))")
    claim = "select count(*) from public.claim_match_jobs(%s, 1, '1 minute')"
    claiming = sessions.submit(call, second, claim, uuid4())
    first.execute("select setval('automatch.match_job_virtual_time', 1000)")
    first.commit()

    assert claiming.result() == 1
    assert one(first, "select last_value from automatch.match_job_virtual_time") == 1000
    assert one(first, "select count(*) from automatch.held_jobs") == 1


def test_signing_up_with_an_address_that_is_being_taken_waits_and_gets_nothing(sessions):
    query = "select auth.create_user('she@uit', 'x', '{}')"
    assert one(sessions.first, query)
    signing_up = sessions.submit(call, sessions.second, query)
    sessions.first.commit()

    assert signing_up.result() is None


def test_same_photo_sent_twice_at_once_is_one_face_with_one_job(sessions):
    first, second = sessions.first, sessions.second
    she = build.a_profile(first)
    first.commit()
    query = (
        "select (public.record_upload(id, left(id::text, 2) || '/' || id, repeat('0', 64))).job_id"
        " from gen_random_uuid() as id"
    )
    with acting(first, she):
        job = one(first, query)
    sending = sessions.submit(partial(call, person=she), second, query)
    first.commit()

    assert sending.result() == job
    assert one(first, "select count(*) from public.match_jobs") == 1


def test_last_charge_of_a_rate_limit_is_given_to_one_of_two(sessions):
    first, second = sessions.first, sessions.second
    query = "select public.charge_rate_limits('{one,other}', '{1,2}', '{3600,3600}')"
    assert one(first, query) == 0
    charging = sessions.submit(call, second, query)
    first.commit()

    assert charging.result() > 3000
    waits = "select public.get_rate_limit_wait(array[%s::bytea], array[%s], '{3600}')"
    assert one(first, waits, "one", 1) > 3000
    assert one(first, waits, "other", 2) == 0


class Campus:
    """People who do everything at once, each act in a transaction of its own."""

    def __init__(self, dsn, seed):
        self.dsn = dsn
        self.random = random.Random(seed)
        self.refusals = []
        with connect(dsn) as conn:
            self.people = [
                build.a_profile(conn, gender=gender) for gender in ("female", "male") * 4
            ]
            for number, person in enumerate(self.people):
                for photo in range(2):
                    vector = like(CENTER, 0.85, seed=10 * number + photo)
                    build.a_job(conn, build.a_face(conn, person, vector))

    def acts(self):
        acts = [self.work] * 18 + [self.delete_photo] * 5 + [self.dismiss] * 6
        acts += [self.withdraw_and_return] * 5 + [self.pause] * 3 + [self.erase] * 3
        self.random.shuffle(acts)
        return [(act, self.random.choice(self.people), self.random.random()) for act in acts]

    def run(self, act, person, seed):
        with connect(self.dsn) as conn:
            # A circle shows at once, and as what it is.
            conn.execute("set deadlock_timeout = '20ms'")
            try:
                act(conn, person, random.Random(seed))
            except psycopg.Error as exc:
                if exc.diag.message_hint not in EXPECTED:
                    raise
                conn.rollback()

    def work(self, conn, _, order):
        jobs = build.claim_some(conn, 3)
        conn.commit()
        order.shuffle(jobs)
        held = [job for job, _ in jobs], [token for _, token in jobs]
        conn.execute("select public.renew_match_leases(%s, %s, '30 s')", held)
        conn.commit()
        for job, token in jobs:
            call(
                conn,
                "select count(*) = 1 from public.store_face_embeddings("
                "array[%s]::uuid[], array[%s]::bigint[], array[%s]::extensions.vector[], 'dlib',"
                " array['{}']::jsonb[], array['{}']::jsonb[])",
                *(job, token, like(CENTER, 0.8, seed=order.randrange(100))),
            )
            call(
                conn,
                "select match_count from public.complete_match_jobs(array[%s]::uuid[],"
                " array[%s]::bigint[])",
                job,
                token,
            )

    def delete_photo(self, conn, person, order):
        faces = conn.execute("select id from public.faces where profile_id = %s", [person])
        for (face,) in faces.fetchall()[:1]:
            call(conn, "select public.delete_face(%s)", face, person=person)

    def dismiss(self, conn, person, order):
        match = one(
            conn,
            "select id from public.matches where %s in (profile_a_id, profile_b_id) limit 1",
            person,
        )
        call(conn, "select public.dismiss_match(%s)", match, person=person)

    def withdraw_and_return(self, conn, person, order):
        call(conn, "select public.record_consent(false)", person=person)
        call(conn, "select public.record_consent(true, '2026-11')", person=person)
        face = build.a_face(conn, person)
        build.a_job(conn, face)
        conn.commit()

    def pause(self, conn, person, order):
        conn.execute(
            "update public.profiles set discoverable = not discoverable where id = %s", [person]
        )
        conn.commit()

    def erase(self, conn, person, order):
        if order.random() < 0.5:
            conn.execute("delete from public.profiles where id = %s", [person])
        conn.commit()


@pytest.mark.parametrize("seed", range(4))
def test_everything_at_once_ends_in_no_circle_and_in_order(database, seed):
    campus = Campus(database.owner, seed)
    with ThreadPoolExecutor(8) as threads:
        running = [threads.submit(campus.run, *act) for act in campus.acts()]
    for act in running:
        act.result()

    with connect(database.owner, autocommit=True) as conn:
        assert find_forbidden_states(conn) == []
