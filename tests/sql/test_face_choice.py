"""Which of several faces is one's own: the question that a job asks, and every answer to it."""

from __future__ import annotations

import json
from concurrent.futures import Future
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import psycopg
import pytest

from tests.support import build
from tests.support.build import acting, connect, one, refused, set_clock

LEFT = {"left": 0.1, "top": 0.2, "width": 0.2, "height": 0.3}
RIGHT = {"left": 0.6, "top": 0.2, "width": 0.25, "height": 0.3}
FAIL = "select public.fail_match_jobs(%s, %s, %s, %s, %s::jsonb[])"
CHOOSE = "select job_status from public.choose_face(%s, %s)"
ERASE = "select public.erase_unanswered_photo('1 day')"


def asking(conn, boxes=(LEFT, RIGHT)):
    """Write a woman whose photo asks; return her, the photo and the job."""
    she = build.a_profile(conn)
    face = build.a_face(conn, she)
    job = build.a_job(conn, face)
    token = next(token for held, token in build.claim_some(conn, 100) if held == job)
    ask(conn, job, token, boxes)
    return she, face, job


def ask(conn, job, token, boxes=(LEFT, RIGHT)):
    told = [[job], [token], ["several_faces"], ["2 faces."], [json.dumps(boxes)]]
    return conn.execute(FAIL, told).fetchall()


def choose(conn, person, job, index):
    with acting(conn, person):
        return one(conn, CHOOSE, job, index)


def state(conn, job):
    return conn.execute(
        "select j.status, j.attempts, j.face_boxes, f.chosen_box"
        " from public.match_jobs as j join public.faces as f on f.id = j.face_id"
        " where j.id = %s",
        [job],
    ).fetchone()


def test_failed_job_keeps_the_boxes_and_its_owner_alone_reads_them(conn):
    she, _, job = asking(conn)
    stranger = build.a_profile(conn)
    read = "select face_boxes from public.match_jobs where id = %s"
    with acting(conn, she):
        assert one(conn, read, job) == [LEFT, RIGHT]
    with acting(conn, stranger):
        assert conn.execute(read, [job]).fetchall() == []


def test_answer_queues_the_job_again_with_all_attempts_and_is_handed_to_the_worker(conn):
    she, face, job = asking(conn)
    assert choose(conn, she, job, 1) == "pending"
    assert state(conn, job) == ("pending", 0, None, RIGHT | {"index": 1})
    claimed, _ = build.claim(conn)

    assert claimed == job
    assert one(conn, "select public.get_chosen_face(%s)", face) == RIGHT | {"index": 1}


def test_time_of_the_job_begins_with_the_answer(conn):
    monday = datetime(2026, 1, 5, tzinfo=UTC)
    set_clock(conn, monday)
    she, _, job = asking(conn)
    set_clock(conn, monday + timedelta(hours=3))
    choose(conn, she, job, 0)

    assert one(conn, "select created_at from public.match_jobs where id = %s", job) == (
        monday + timedelta(hours=3)
    )


def test_answered_job_stands_behind_those_who_wait(conn):
    she, _, job = asking(conn)
    waiting = build.a_job(conn, build.a_face(conn, build.a_profile(conn)))
    choose(conn, she, job, 0)

    assert [build.claim(conn)[0] for _ in range(2)] == [waiting, job]


def test_answered_job_of_a_paused_school_waits_for_it_to_go_on(conn):
    she, _, job = asking(conn)
    conn.execute("select public.pause_match_jobs('UIT')")
    assert choose(conn, she, job, 0) == "pending"
    assert build.claim_some(conn, 9) == []
    conn.execute("select public.resume_match_jobs('UIT')")

    assert build.claim(conn)[0] == job


def test_answer_follows_its_person_to_another_school(conn):
    she, _, job = asking(conn)
    conn.execute("update public.profiles set school = 'HCMUS' where id = %s", [she])
    choose(conn, she, job, 0)

    assert one(conn, "select school from public.match_jobs where id = %s", job) == "HCMUS"


def test_same_answer_again_changes_nothing_wherever_the_job_is(conn):
    she, face, job = asking(conn)
    choose(conn, she, job, 1)
    first = state(conn, job)
    assert choose(conn, she, job, 1) == "pending"
    assert state(conn, job) == first
    _, token = build.claim(conn)
    assert choose(conn, she, job, 1) == "processing"
    conn.execute(
        "select count(*) = 1 from public.store_face_embeddings("
        "array[%s]::uuid[], array[%s]::bigint[], array[%s]::extensions.vector[], 'dlib',"
        " array['{}']::jsonb[], array['{}']::jsonb[])",
        [job, token, build.unit(0)],
    )
    build.complete(conn, job, token)

    assert choose(conn, she, job, 1) == "completed"
    assert one(conn, "select count(*) from public.match_jobs where face_id = %s", face) == 1


def test_another_answer_is_too_late(conn):
    she, _, job = asking(conn)
    choose(conn, she, job, 1)
    with refused("face_not_asked"):
        choose(conn, she, job, 0)


def test_job_that_asks_once_more_takes_another_answer(conn):
    she, _, job = asking(conn)
    choose(conn, she, job, 1)
    _, token = build.claim(conn)
    ask(conn, job, token, [RIGHT, LEFT])
    # Not the same answer: the boxes are others, and the index names another face.
    assert choose(conn, she, job, 1) == "pending"

    assert state(conn, job)[3] == LEFT | {"index": 1}


@pytest.mark.parametrize("index", [-1, 2, 64, 2**31 - 1, None])
def test_index_of_no_face_is_refused(conn, index):
    she, _, job = asking(conn)
    with refused("input_invalid"):
        choose(conn, she, job, index)

    assert state(conn, job) == ("failed", 1, [LEFT, RIGHT], None)


@pytest.mark.parametrize("code", ["no_face", "several_faces"])
def test_job_that_does_not_ask_is_refused(conn, code):
    she = build.a_profile(conn)
    build.a_job(conn, build.a_face(conn, she))
    job, token = build.claim(conn)
    conn.execute(
        "select public.fail_match_jobs(%s, %s, %s, %s)", [[job], [token], [code], ["Why."]]
    )
    with refused("face_not_asked"):
        choose(conn, she, job, 0)


def test_job_of_somebody_else_is_a_job_of_nobody(conn):
    she, _, job = asking(conn)
    stranger = build.a_profile(conn)
    for person, named in [(stranger, job), (she, uuid4())]:
        with refused("not_found"):
            choose(conn, person, named, 0)

    assert state(conn, job)[0] == "failed"


def test_answer_after_the_photo_is_deleted_finds_nothing(conn):
    she, face, job = asking(conn)
    with acting(conn, she):
        conn.execute("select public.delete_face(%s)", [face])
    with refused("not_found"):
        choose(conn, she, job, 0)


def test_answer_without_a_consent_is_refused(conn):
    she, _, job = asking(conn)
    # Withdrawn without the trigger that deletes the photo along with it.
    conn.execute("set local session_replication_role = replica")
    build.record_consent(conn, she, "withdrawn")
    conn.execute("set local session_replication_role = origin")
    with refused("consent_required"):
        choose(conn, she, job, 0)


def test_answer_while_an_operator_has_queued_the_photo_again_is_refused(conn):
    she, _, job = asking(conn)
    conn.execute("select public.requeue_match_job(%s)", [job])
    with refused("face_not_asked"):
        choose(conn, she, job, 0)

    assert state(conn, job) == ("failed", 1, [LEFT, RIGHT], None)


def test_worker_that_wakes_up_late_takes_no_answer_back(conn):
    she = build.a_profile(conn)
    build.a_job(conn, build.a_face(conn, she))
    job, token = build.claim(conn)
    ask(conn, job, token)
    choose(conn, she, job, 0)

    assert ask(conn, job, token) == []
    assert state(conn, job)[0] == "pending"


def test_operators_retry_takes_the_question_away(conn):
    _, _, job = asking(conn)
    conn.execute("select public.retry_failed_match_jobs(%s)", [[job]])

    assert state(conn, job)[:3] == ("pending", 0, None)


@pytest.mark.parametrize(
    "boxes",
    [
        [],
        [LEFT],
        [LEFT] * 65,
        LEFT,
        "2",
        [LEFT, {**RIGHT, "left": -0.1}],
        [LEFT, {**RIGHT, "left": 0.8}],
        [LEFT, {**RIGHT, "height": 0}],
        [LEFT, {**RIGHT, "top": "0.2"}],
        [LEFT, {**RIGHT, "width": None}],
        [LEFT, {"left": 0.1}],
        [LEFT, None],
        [LEFT, [0.1, 0.1, 0.2, 0.2]],
    ],
)
def test_boxes_that_are_none_are_refused(conn, boxes):
    build.a_job(conn, build.a_face(conn, build.a_profile(conn)))
    job, token = build.claim(conn)
    with pytest.raises(psycopg.errors.CheckViolation), conn.transaction():
        ask(conn, job, token, boxes)


def test_photo_that_got_no_answer_for_a_day_is_erased_with_its_job(conn):
    monday = datetime(2026, 1, 5, tzinfo=UTC)
    set_clock(conn, monday)
    _, face, job = asking(conn)
    answered = asking(conn)
    choose(conn, answered[0], answered[2], 0)
    set_clock(conn, monday + timedelta(hours=23))
    later = asking(conn)
    assert one(conn, ERASE) == 0
    set_clock(conn, monday + timedelta(hours=25))
    erased = [one(conn, ERASE) for _ in range(3)]

    assert erased == [1, 0, 0]
    left = {face for (face,) in conn.execute("select id from public.faces").fetchall()}
    assert left == {answered[1], later[1]}
    assert state(conn, job) is None
    assert one(conn, "select image_path from automatch.photo_erasures") == (
        f"{face.hex[:2]}/{face}"
    )


def test_photo_that_was_accepted_once_is_never_erased_for_want_of_an_answer(conn):
    set_clock(conn, datetime(2026, 1, 5, tzinfo=UTC))
    _, face, _ = asking(conn)
    build.embed(conn, face, build.unit(1))
    set_clock(conn, datetime(2026, 2, 5, tzinfo=UTC))

    assert one(conn, ERASE) == 0


def test_photo_that_is_being_looked_at_again_is_not_erased_and_keeps_nobody_else_from_it(conn):
    set_clock(conn, datetime(2026, 1, 5, tzinfo=UTC))
    _, face, job = asking(conn)
    asking(conn)
    set_clock(conn, datetime(2026, 1, 5, 1, tzinfo=UTC))
    conn.execute("select public.requeue_match_job(%s)", [job])
    set_clock(conn, datetime(2026, 2, 5, tzinfo=UTC))

    assert [one(conn, ERASE) for _ in range(2)] == [1, 0]
    assert one(conn, "select id from public.faces") == face


def finish(waiting: Future[object], conn: psycopg.Connection) -> object:
    conn.commit()
    return waiting.result(60)


@pytest.mark.parametrize(
    "erasing",
    [
        "select public.delete_face('{face}')",
        "select public.record_consent(false)",
    ],
)
@pytest.mark.parametrize("first", ["answer", "erasure"])
def test_answer_and_erasure_wait_for_each_other_and_the_erasure_wins(sessions, erasing, first):
    she, face, job = asking(sessions.first)
    sessions.first.commit()

    def answer(conn):
        return choose(conn, she, job, 0)

    def erase(conn):
        with acting(conn, she):
            conn.execute(erasing.format(face=face))

    if first == "answer":
        answer(sessions.first)
        waiting = sessions.submit(erase, sessions.second)
        finish(waiting, sessions.first)
        sessions.second.commit()
    else:
        erase(sessions.first)
        waiting = sessions.submit(answer, sessions.second)
        with refused("not_found"):
            finish(waiting, sessions.first)
        sessions.second.rollback()

    assert one(sessions.watcher, "select count(*) from public.faces") == 0
    assert one(sessions.watcher, "select count(*) from public.match_jobs") == 0


@pytest.mark.parametrize("first", ["answer", "retention"])
def test_answer_and_retention_wait_for_each_other_and_the_first_holds(sessions, first):
    she, face, job = asking(sessions.first)
    sessions.first.execute("update public.match_jobs set completed_at = now() - interval '2 days'")
    sessions.first.commit()

    def answer(conn):
        return choose(conn, she, job, 0)

    def erase(conn):
        return one(conn, ERASE)

    if first == "answer":
        answer(sessions.first)
        waiting = sessions.submit(erase, sessions.second)
        assert finish(waiting, sessions.first) == 0
        left: list[tuple[UUID]] = [(face,)]
    else:
        assert erase(sessions.first) == 1
        waiting = sessions.submit(answer, sessions.second)
        with refused("not_found"):
            finish(waiting, sessions.first)
        sessions.second.rollback()
        left = []
    sessions.second.commit()

    assert sessions.watcher.execute("select id from public.faces").fetchall() == left


def test_two_answers_at_once_are_one(sessions):
    she, _, job = asking(sessions.first)
    sessions.first.commit()
    choose(sessions.first, she, job, 0)
    waiting = sessions.submit(choose, sessions.second, she, job, 1)
    with refused("face_not_asked"):
        finish(waiting, sessions.first)
    sessions.second.rollback()

    assert state(sessions.watcher, job)[3] == LEFT | {"index": 0}


def test_login_of_the_worker_reads_the_answer_and_cannot_give_one(rows_database):
    with connect(rows_database.worker) as conn:
        assert one(conn, "select public.get_chosen_face(%s)", uuid4()) is None
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            conn.execute(CHOOSE, [uuid4(), 0])
