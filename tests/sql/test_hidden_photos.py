"""Photos that a case hides: deleted and sent again they stay hidden, until it is decided."""

from __future__ import annotations

import pytest
from psycopg.types.json import Jsonb

from tests.support import build
from tests.support.build import acting, one
from tests.support.cases import (
    a_pair,
    a_witness,
    columns,
    decide,
    feed,
    is_held,
    report,
)

HIDE = ("is open", "was decided as hidden", "was closed", "was decided as erased", "was appealed")


def hidden_case(conn, she, he, how):
    case = report(conn, she, he, "not_their_photo")
    act = {"was decided as hidden": "hide", "was closed": "close", "was appealed": "hide"}.get(how)
    if how == "was decided as erased":
        decide(conn, case, "erase_photo")
    elif act:
        decide(conn, case, act)
    if how == "was appealed":
        with acting(conn, he):
            conn.execute("select public.write_to_case(%s, 'It is me.')", [case])
    return case


def send_again(conn, person, face, embedding):
    """Let a person delete a photo and send it once more, as a worker does; its new id."""
    with acting(conn, person):
        if one(conn, "select true from public.faces where id = %s", face):
            conn.execute("select public.delete_face(%s)", [face])
    return send(conn, person, embedding)


def send(conn, person, embedding):
    face = build.a_face(conn, person)
    build.a_job(conn, face)
    job, token = build.claim(conn)
    conn.execute(
        "select public.store_face_embeddings(%s::uuid[], %s::bigint[], %s::vector[], 'dlib',"
        " %s::jsonb[], %s::jsonb[], '{dlib}')",
        [[job], [token], [embedding], [Jsonb({})], [Jsonb({})]],
    )
    build.complete(conn, job, token)
    return face


@pytest.mark.parametrize("how", HIDE)
def test_hidden_photo_that_is_deleted_and_sent_again_stays_hidden_and_is_in_the_case(conn, how):
    (she, _), (he, his_face) = a_pair(conn)
    witness = a_witness(conn)
    case = hidden_case(conn, she, he, how)

    again = send_again(conn, he, his_face, build.unit(0))

    assert is_held(conn, again)
    assert feed(conn, witness) == []
    assert columns(conn, case, "state, face_id") == ("open", again)
    listed = conn.execute("select id, hides, face_id from public.list_cases()").fetchall()
    assert listed == [(case, True, again)]
    job = "select error_code from public.match_jobs where face_id = %s"
    assert one(conn, job, again) == "photo_in_review"


def test_photos_that_were_sent_since_come_back_when_the_case_is_dismissed(conn):
    (she, _), (he, his_face) = a_pair(conn)
    case = report(conn, she, he, "not_their_photo")
    faces = [his_face, *(send(conn, he, build.like(build.unit(0), 0.98, seed=n)) for n in (1, 2))]
    assert [is_held(conn, face) for face in faces] == [True] * 3
    assert columns(conn, case, "face_id") == (his_face,)
    decide(conn, case, "dismiss")

    assert [is_held(conn, face) for face in faces] == [False] * 3
    assert not is_held(conn, send(conn, he, build.like(build.unit(0), 0.98, seed=3)))


def test_photos_wait_as_long_as_any_case_hides_one(conn):
    (she, _), (he, his_face) = a_pair(conn)
    witness = a_witness(conn)
    first = report(conn, she, he, "not_their_photo")
    second = report(conn, witness, he, "fake")
    decide(conn, second, "hide", face=his_face)
    again = send_again(conn, he, his_face, build.unit(0))
    conn.execute(
        "update public.faces set created_at = created_at + interval '1 s' where id = %s", [again]
    )
    decide(conn, first, "dismiss")

    assert is_held(conn, again)
    decide(conn, second, "dismiss")
    assert not is_held(conn, again)


@pytest.mark.parametrize("how", ["harassment", "under_18", "dismissed", "a year ago"])
def test_new_photo_does_not_wait_for_a_case_that_hides_none(conn, how):
    (she, _), (he, his_face) = a_pair(conn)
    reason = how if how in ("harassment", "under_18") else "not_their_photo"
    case = report(conn, she, he, reason)
    if how == "a year ago":
        decide(conn, case, "hide")
        conn.execute("update automatch.cases set decided_at = decided_at - interval '366 days'")
    elif how == "dismissed":
        decide(conn, case, how.removesuffix("ed"))

    assert not is_held(conn, send_again(conn, he, his_face, build.unit(0)))


def test_case_whose_photo_was_deleted_is_listed_as_one_that_hides_nothing(conn):
    (she, _), (he, his_face) = a_pair(conn)
    report(conn, she, he, "not_their_photo")
    with acting(conn, he):
        conn.execute("select public.delete_face(%s)", [his_face])

    assert conn.execute("select hides, face_id from public.list_cases()").fetchall() == [
        (False, None)
    ]
